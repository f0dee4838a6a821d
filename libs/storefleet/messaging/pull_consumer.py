"""Consume messages of a durable JetStream consumer by pull requests.

nats-py's own `fetch` waits for its whole timeout when the server restarts. So pull requests are
sent here, with idle heartbeats, and again after every reconnect.
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
_MISSED_HEARTBEATS = 2.5  # the pull is restarted after a silence of this many heartbeats
_ERROR_DELAY_S = 0.5


class ReceivedMessage(NamedTuple):
    """One delivery of a message.

    Exactly one of `acknowledge`, `retry_later` and `terminate` ends it. If that reply is lost, the
    message is delivered once more, which is harmless.
    """

    subject: str
    body: bytes
    raw: Msg

    async def acknowledge(self) -> None:
        """Acknowledge the message: it is not delivered again (ack)."""
        with suppress(*NATS_UNAVAILABLE_ERRORS):
            await self.raw.ack()

    async def retry_later(self, delay_s: float) -> None:
        """Request another delivery after `delay_s` seconds (nak)."""
        with suppress(*NATS_UNAVAILABLE_ERRORS):
            await self.raw.nak(delay=delay_s)

    async def terminate(self) -> None:
        """Stop deliveries of a message that will never be processed (term)."""
        with suppress(*NATS_UNAVAILABLE_ERRORS):
            await self.raw.term()


class PullConsumer:
    """A continuous pull that survives restarts of the server.

    No more than `capacity` messages are in progress: delivered, and not yet released.
    """

    def __init__(self, stream: str, consumer: str, *, capacity: int) -> None:
        """Name the durable consumer; `attach_client` starts the pull.

        Args:
            stream: The name of the stream.
            consumer: The name of the durable consumer.
            capacity: Limit of messages in progress.
        """
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._capacity = capacity
        self._client: Client | None = None
        self._subscription: Any = None
        self._inbox = ""
        # Requested from the server and not yet delivered.
        self._requested = 0
        # Delivered and not released, queued ones included.
        self._in_progress = 0
        self._queue: asyncio.Queue[ReceivedMessage] = asyncio.Queue()
        self._last_received = time.monotonic()
        self._stopped = False

    async def attach_client(self, client: Client) -> None:
        """Pull over this connection from now on."""
        if client is self._client:
            return
        self._client = client
        self._inbox = client.new_inbox()
        self._subscription = await client.subscribe(f"{self._inbox}.*", cb=self._handle_delivery)
        await self.restart_pull()

    async def restart_pull(self) -> None:
        """Discard the state of the last pull request, which may be lost, and send another one."""
        self._requested = 0
        await self._request_messages()

    async def next_message(self) -> ReceivedMessage:
        """Wait for the next message; call `release_slot` when its processing has ended."""
        while True:
            try:
                # wait_for would swallow a cancellation that arrives together with a message
                async with asyncio.timeout(_IDLE_HEARTBEAT_S):
                    return await self._queue.get()
            except TimeoutError:
                silence_s = time.monotonic() - self._last_received
                if silence_s > _MISSED_HEARTBEATS * _IDLE_HEARTBEAT_S:
                    await self.restart_pull()

    async def release_slot(self) -> None:
        """Record that the processing of a message has ended, and request more messages."""
        self._in_progress -= 1
        await self._request_messages()

    async def stop(self) -> None:
        """Request no further messages, and nak those whose processing has not begun."""
        self._stopped = True
        if self._subscription is not None:
            with suppress(*NATS_UNAVAILABLE_ERRORS):
                await self._subscription.unsubscribe()
        while not self._queue.empty():
            await self._queue.get_nowait().retry_later(0)

    async def _request_messages(self) -> None:
        """Request as many messages as there is capacity for.

        While a request is open, another one is sent only for at least half of the capacity.
        """
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
        with suppress(*NATS_UNAVAILABLE_ERRORS):  # the reconnect or next_message restarts the pull
            await self._client.publish(
                self._subject, json.dumps(request).encode(), reply=f"{self._inbox}.pull"
            )

    async def _handle_delivery(self, message: Msg) -> None:
        """Queue a message, or handle a status: heartbeat 100, expired 408, or an error."""
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
        if headers.get("Status") != "408":
            # the consumer is missing or rejects the request: do not retry in a tight loop
            log.warning(
                "pull_request_rejected",
                status=headers.get("Status"),
                reason=headers.get("Description"),
            )
            await asyncio.sleep(_ERROR_DELAY_S)
        await self._request_messages()
