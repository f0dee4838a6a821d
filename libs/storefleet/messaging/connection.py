"""The connection to NATS: it reconnects by itself, and restores subscriptions and consumers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from storefleet.core import async_tasks
from storefleet.core.errors import MessagingUnavailable
from storefleet.core.messages import RELAY_WAKE_SUBJECT
from storefleet.messaging.nats_errors import NATS_UNAVAILABLE_ERRORS
from storefleet.messaging.publisher import OutgoingMessage, Publisher, PublishResult
from storefleet.messaging.pull_consumer import PullConsumer
from storefleet.messaging.streams import make_consumer_configs, make_stream_configs
from storefleet.observability import logs

log = logs.get_logger(__name__)

_CONNECT_TIMEOUT_S = 5
_CLOSE_TIMEOUT_S = 3
_RECONNECT_DELAY_S = 0.5


class MessageBus:
    """One connection to NATS that reconnects for as long as the process lives."""

    def __init__(self, url: str, *, name: str, replicas: int = 1) -> None:
        """Configure the connection without connecting.

        Args:
            url: Addresses with credentials (`nats://…`), comma separated.
            name: The name of the connection, for NATS's monitoring.
            replicas: Replicas of every stream that `ensure_streams` creates.
        """
        self._server_urls = url.split(",")
        self._name = name
        self._replicas = replicas
        self._client: Client | None = None
        self._subscriptions: list[tuple[str, Callable[[Msg], Awaitable[None]]]] = []
        self._consumers: list[PullConsumer] = []
        self._wake_task: asyncio.Task[None] | None = None
        self._publisher = Publisher()
        # Subscriptions and consumers added while the client was reconnecting; called afterwards.
        self._deferred_calls: list[Callable[[Client], Awaitable[Any]]] = []

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        return self._client is not None and self._client.is_connected

    def check_connection(self) -> None:
        """Raise MessagingUnavailable when there is no connection."""
        if not self.is_connected:
            raise MessagingUnavailable(
                "The message bus does not answer at the moment. Retry in a few seconds."
            )

    @asynccontextmanager
    async def open_connection(self) -> AsyncIterator["MessageBus"]:
        """Connect in the background and keep retrying; the caller does not wait for NATS."""
        task = asyncio.create_task(self._stay_connected())
        try:
            yield self
        finally:
            await async_tasks.cancel_and_wait([task])
            if self._client is not None:
                with suppress(Exception):  # the client is discarded, whatever its state
                    await asyncio.wait_for(self._client.close(), timeout=_CLOSE_TIMEOUT_S)

    async def _stay_connected(self) -> None:
        while True:
            closed = asyncio.Event()
            try:
                async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                    self._client = await self._connect(closed)
                self._deferred_calls.clear()
                for subject, on_message in self._subscriptions:
                    await self._client.subscribe(subject, cb=on_message)
                for consumer in self._consumers:
                    await consumer.attach_client(self._client)
                log.info("messaging_connected")
                await closed.wait()
            except NATS_UNAVAILABLE_ERRORS as error:
                log.warning("messaging_connect_failed", error=str(error) or type(error).__name__)
            await asyncio.sleep(_RECONNECT_DELAY_S)

    async def _connect(self, closed: asyncio.Event) -> Client:
        user = urlsplit(self._server_urls[0]).username or self._name

        async def on_reconnect() -> None:
            log.info("messaging_reconnected")
            while self._deferred_calls and self._client is not None:
                await self._deferred_calls.pop()(self._client)
            for consumer in self._consumers:
                await consumer.restart_pull()

        async def on_error(error: Exception) -> None:
            log.warning("messaging_error_received", error=str(error) or type(error).__name__)

        async def on_closed() -> None:
            closed.set()

        return await nats.connect(
            servers=self._server_urls,
            name=self._name,
            # permissions allow each user an inbox under its own name only
            inbox_prefix=f"_INBOX_{user}".encode(),
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.25,
            ping_interval=5,
            max_outstanding_pings=2,
            connect_timeout=3,
            pending_size=0,  # while disconnected, fail instead of buffering and sending later
            reconnected_cb=on_reconnect,
            error_cb=on_error,
            closed_cb=on_closed,
        )

    async def publish(self, message: OutgoingMessage) -> None:
        """Publish one message and wait until its stream has stored it.

        Raises:
            MessagingUnavailable: The message was not acknowledged; it may be stored nevertheless.
            PublishRejected: The stream will never accept the message.
        """
        (problem,) = await self.publish_all([message])
        if problem is not None:
            raise problem

    async def publish_all(self, messages: Sequence[OutgoingMessage]) -> list[PublishResult]:
        """Publish messages in order and wait for their acknowledgements together.

        Returns:
            A result for each message: None when its stream has stored it, else the error.

        Raises:
            MessagingUnavailable: There is no connection; no message was sent.
        """
        self.check_connection()
        assert self._client is not None  # noqa: S101  narrowed by check_connection
        try:
            return await self._publisher.publish_batch(self._client, messages)
        except NATS_UNAVAILABLE_ERRORS as error:
            raise MessagingUnavailable(f"Publishing failed: {error!r}") from error

    def wake_relay(self) -> bool:
        """Wake the relay without waiting, once for several commits at the same moment.

        Returns:
            Whether there is a connection to do so.
        """
        if self.is_connected and (self._wake_task is None or self._wake_task.done()):
            self._wake_task = asyncio.create_task(self._publish_wake())
        return self.is_connected

    async def _publish_wake(self) -> None:
        assert self._client is not None  # noqa: S101  narrowed by wake_relay
        with suppress(*NATS_UNAVAILABLE_ERRORS):  # the relay also polls, only less often
            await self._client.publish(RELAY_WAKE_SUBJECT, b"")

    async def subscribe(self, subject: str, callback: Callable[[bytes], None]) -> None:
        """Call `callback` with the body of every message on a subject, across reconnects.

        At most once: messages that are published during a reconnect are missed.
        """

        async def on_message(message: Msg) -> None:
            callback(message.data)

        self._subscriptions.append((subject, on_message))
        if self.is_connected and self._client is not None:
            await self._client.subscribe(subject, cb=on_message)
        elif self._client is not None:
            self._deferred_calls.append(lambda client: client.subscribe(subject, cb=on_message))

    async def open_consumer(self, stream: str, consumer: str, *, capacity: int) -> PullConsumer:
        """Open a pull consumer on a durable consumer of a stream.

        Args:
            stream: The name of the stream.
            consumer: The name of the durable consumer.
            capacity: Limit of messages that are in progress at once.
        """
        pull_consumer = PullConsumer(stream, consumer, capacity=capacity)
        self._consumers.append(pull_consumer)
        if self.is_connected and self._client is not None:
            await pull_consumer.attach_client(self._client)
        elif self._client is not None:
            self._deferred_calls.append(pull_consumer.attach_client)
        return pull_consumer

    async def ensure_streams(self) -> None:
        """Create or update all streams and durable consumers; needs the administrator's account.

        Raises:
            MessagingUnavailable: NATS does not answer or does not allow it.
        """
        self.check_connection()
        assert self._client is not None  # noqa: S101  narrowed by check_connection
        jetstream = self._client.jetstream(timeout=5)
        try:
            for config in make_stream_configs(self._replicas):
                try:
                    await jetstream.update_stream(config)
                except NotFoundError:
                    await jetstream.add_stream(config)
            for stream, consumer in make_consumer_configs():
                await jetstream.add_consumer(stream, consumer)
        except NATS_UNAVAILABLE_ERRORS as error:
            raise MessagingUnavailable(f"The streams cannot be created: {error!r}") from error
