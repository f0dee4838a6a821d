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

from storefleet.messaging.nats_errors import NATS_UNAVAILABLE_ERRORS
from storefleet.observability import logs

log = logs.get_logger(__name__)

_PULL_EXPIRY_S = 30.0
_IDLE_HEARTBEAT_S = 2.0


class ReceivedMessage(NamedTuple):
    """One delivery; exactly one of `done`, `later`, `never` ends it."""

    subject: str
    body: bytes
    raw: Msg

    async def acknowledge(self) -> None:
        with suppress(
            *NATS_UNAVAILABLE_ERRORS
        ):  # a lost ack means one more delivery, which is harmless
            await self.raw.ack()

    async def retry_later(self, delay_s: float) -> None:
        with suppress(*NATS_UNAVAILABLE_ERRORS):
            await self.raw.nak(delay=delay_s)

    async def terminate(self) -> None:
        with suppress(*NATS_UNAVAILABLE_ERRORS):
            await self.raw.term()


class PullConsumer:
    """A continuous pull that survives restarts of the server."""

    def __init__(self, stream: str, consumer: str, *, capacity: int) -> None:
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._capacity = capacity
        self._client: Client | None = None
        self._subscription: Any = None
        self._inbox = ""
        self._requested = 0
        self._in_progress = 0
        self._queue: asyncio.Queue[ReceivedMessage] = asyncio.Queue()
        self._last_received = time.monotonic()
        self._stopped = False

    async def attach_client(self, client: Client) -> None:
        """Use this connection from now on."""
        if client is self._client:
            return
        self._client = client
        self._inbox = client.new_inbox()
        self._subscription = await client.subscribe(f"{self._inbox}.*", cb=self._handle_delivery)
        await self.restart_pull()

    async def restart_pull(self) -> None:
        """Whatever was asked for is forgotten: ask anew."""
        self._requested = 0
        await self._request_messages()

    async def next_message(self) -> ReceivedMessage:
        """The next message; call `release` when its work has ended."""
        while True:
            try:
                async with asyncio.timeout(
                    _IDLE_HEARTBEAT_S
                ):  # wait_for swallows a cancel that comes with a message
                    message = await self._queue.get()
            except TimeoutError:
                if time.monotonic() - self._last_received > 2.5 * _IDLE_HEARTBEAT_S:
                    await self.restart_pull()
                continue
            return message

    async def release_slot(self) -> None:
        self._in_progress -= 1
        await self._request_messages()

    async def stop(self) -> None:
        """Ask for nothing more, and give back what nobody has begun."""
        self._stopped = True
        if self._subscription is not None:
            with suppress(*NATS_UNAVAILABLE_ERRORS):
                await self._subscription.unsubscribe()
        while not self._queue.empty():
            await self._queue.get_nowait().retry_later(0)

    async def _request_messages(self) -> None:
        """Ask for what there is room for; while something is asked for, only when that is half of all."""
        wanted = self._capacity - self._in_progress - self._requested
        if wanted <= 0 or (self._requested and 2 * wanted < self._capacity):
            return
        if self._stopped or self._client is None or not self._client.is_connected:
            return
        self._requested += wanted
        self._last_received = time.monotonic()
        request = {
            "batch": wanted,
            "expires": int(_PULL_EXPIRY_S * 1e9),
            "idle_heartbeat": int(_IDLE_HEARTBEAT_S * 1e9),
        }
        with suppress(*NATS_UNAVAILABLE_ERRORS):  # the reconnect or the watchdog asks again
            await self._client.publish(
                self._subject, json.dumps(request).encode(), reply=f"{self._inbox}.pull"
            )

    async def _handle_delivery(self, message: Msg) -> None:
        self._last_received = time.monotonic()
        if message.reply.startswith("$JS.ACK"):
            self._requested = max(0, self._requested - 1)
            self._in_progress += 1
            self._queue.put_nowait(ReceivedMessage(message.subject, message.data, message))
            return
        headers = message.headers or {}
        if headers.get("Status") == "100":
            return
        unserved = headers.get("Nats-Pending-Messages")
        self._requested = max(0, self._requested - int(unserved)) if unserved else 0
        if (
            headers.get("Status") != "408"
        ):  # the consumer is missing or refuses: not in a tight loop
            log.warning(
                "pull_refused", status=headers.get("Status"), reason=headers.get("Description")
            )
            await asyncio.sleep(0.5)
        await self._request_messages()
