"""Taking messages from a durable consumer.

nats-py's own `fetch` waits out its whole timeout over a server restart, so pulling is done here with idle heartbeats
and a new pull after every reconnect.
"""

import asyncio
import json
import time
from contextlib import suppress
from typing import Any, NamedTuple

from nats.aio.client import Client
from nats.aio.msg import Msg

from storefleet.messaging.nats_errors import AWAY
from storefleet.observability import logs

log = logs.get(__name__)

_EXPIRES = 30.0
_HEARTBEAT = 2.0


class Message(NamedTuple):
    """One delivery; exactly one of `done`, `later`, `never` ends it."""

    subject: str
    body: bytes
    raw: Msg

    async def done(self) -> None:
        with suppress(*AWAY):  # a lost ack means one more delivery, which is harmless
            await self.raw.ack()

    async def later(self, delay: float) -> None:
        with suppress(*AWAY):
            await self.raw.nak(delay=delay)

    async def never(self) -> None:
        with suppress(*AWAY):
            await self.raw.term()


class Pull:
    """A continuous pull that survives restarts of the server."""

    def __init__(self, stream: str, consumer: str, *, capacity: int) -> None:
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._capacity = capacity
        self._client: Client | None = None
        self._subscription: Any = None
        self._inbox = ""
        self._asked = 0
        self._in_hand = 0
        self._queue: asyncio.Queue[Message] = asyncio.Queue()
        self._last = time.monotonic()
        self._stopped = False

    async def attach(self, client: Client) -> None:
        """Use this connection from now on."""
        if client is self._client:
            return
        self._client = client
        self._inbox = client.new_inbox()
        self._subscription = await client.subscribe(f"{self._inbox}.*", cb=self._received)
        await self.again()

    async def again(self) -> None:
        """Whatever was asked for is forgotten: ask anew."""
        self._asked = 0
        await self._ask()

    async def next(self) -> Message:
        """The next message; call `release` when its work has ended."""
        while True:
            try:
                async with asyncio.timeout(
                    _HEARTBEAT
                ):  # wait_for swallows a cancel that comes with a message
                    message = await self._queue.get()
            except TimeoutError:
                if time.monotonic() - self._last > 2.5 * _HEARTBEAT:
                    await self.again()
                continue
            return message

    async def release(self) -> None:
        self._in_hand -= 1
        await self._ask()

    async def stop(self) -> None:
        """Ask for nothing more, and give back what nobody has begun."""
        self._stopped = True
        if self._subscription is not None:
            with suppress(*AWAY):
                await self._subscription.unsubscribe()
        while not self._queue.empty():
            await self._queue.get_nowait().later(0)

    async def _ask(self) -> None:
        """Ask for what there is room for; while something is asked for, only when that is half of all."""
        wanted = self._capacity - self._in_hand - self._asked
        if wanted <= 0 or (self._asked and 2 * wanted < self._capacity):
            return
        if self._stopped or self._client is None or not self._client.is_connected:
            return
        self._asked += wanted
        self._last = time.monotonic()
        request = {
            "batch": wanted,
            "expires": int(_EXPIRES * 1e9),
            "idle_heartbeat": int(_HEARTBEAT * 1e9),
        }
        with suppress(*AWAY):  # the reconnect or the watchdog asks again
            await self._client.publish(
                self._subject, json.dumps(request).encode(), reply=f"{self._inbox}.pull"
            )

    async def _received(self, message: Msg) -> None:
        self._last = time.monotonic()
        if message.reply.startswith("$JS.ACK"):
            self._asked = max(0, self._asked - 1)
            self._in_hand += 1
            self._queue.put_nowait(Message(message.subject, message.data, message))
            return
        headers = message.headers or {}
        if headers.get("Status") == "100":
            return
        unserved = headers.get("Nats-Pending-Messages")
        self._asked = max(0, self._asked - int(unserved)) if unserved else 0
        if (
            headers.get("Status") != "408"
        ):  # the consumer is missing or refuses: not in a tight loop
            log.warning(
                "pull_refused", status=headers.get("Status"), reason=headers.get("Description")
            )
            await asyncio.sleep(0.5)
        await self._ask()
