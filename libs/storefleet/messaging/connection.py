"""The connection that comes back by itself, and what is done over it."""

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


class MessageBus:
    """One connection that comes back by itself for as long as the process lives."""

    def __init__(self, url: str, *, name: str, replicas: int = 1) -> None:
        self._server_urls = url.split(",")
        self._name = name
        self._replicas = replicas
        self._client: Client | None = None
        self._subscriptions: list[tuple[str, Callable[[Msg], Awaitable[None]]]] = []
        self._consumers: list[PullConsumer] = []
        self._wake_task: asyncio.Task[None] | None = None
        self._publisher = Publisher()
        self._deferred_calls: list[
            Callable[[Client], Awaitable[Any]]
        ] = []  # asked for while the client was reconnecting

    @property
    def is_connected(self) -> bool:
        return self._client is not None and self._client.is_connected

    def check_connection(self) -> None:
        """Raise MessagingUnavailable when there is no connection."""
        if not self.is_connected:
            raise MessagingUnavailable(
                "The message bus does not answer at the moment; try again in a few seconds."
            )

    @asynccontextmanager
    async def open_connection(self) -> AsyncIterator["MessageBus"]:
        """Connect in the background: a bus that is away now may come later."""
        task = asyncio.create_task(self._stay_connected())
        try:
            yield self
        finally:
            await async_tasks.cancel_and_wait([task])
            if self._client is not None:
                with suppress(Exception):  # whatever state it is in, it is thrown away
                    await asyncio.wait_for(self._client.close(), timeout=3)

    async def _stay_connected(self) -> None:
        while True:
            closed = asyncio.Event()
            try:
                async with asyncio.timeout(5):
                    self._client = await self._connect(closed)
                self._deferred_calls.clear()
                for subject, heard in self._subscriptions:
                    await self._client.subscribe(subject, cb=heard)
                for pull in self._consumers:
                    await pull.attach_client(self._client)
                log.info("bus_connected")
                await closed.wait()
            except NATS_UNAVAILABLE_ERRORS as error:
                log.warning("messaging_unavailable", error=str(error) or type(error).__name__)
            await asyncio.sleep(0.5)

    async def _connect(self, closed: asyncio.Event) -> Client:
        user = urlsplit(self._server_urls[0]).username or self._name

        async def on_reconnect() -> None:
            log.info("bus_reconnected")
            while self._deferred_calls and self._client is not None:
                await self._deferred_calls.pop()(self._client)
            for pull in self._consumers:
                await pull.restart_pull()

        async def on_error(error: Exception) -> None:
            log.warning("bus_error", error=str(error) or type(error).__name__)

        async def on_closed() -> None:
            closed.set()

        return await nats.connect(
            servers=self._server_urls,
            name=self._name,
            inbox_prefix=f"_INBOX_{user}".encode(),
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.25,
            ping_interval=5,
            max_outstanding_pings=2,
            connect_timeout=3,
            pending_size=0,  # away means away: nothing is sent later behind our back
            reconnected_cb=on_reconnect,
            error_cb=on_error,
            closed_cb=on_closed,
        )

    async def publish(self, message: OutgoingMessage) -> None:
        """Store one message in its stream; raises MessagingUnavailable when that is not acknowledged, BusRefused if it cannot be."""
        (problem,) = await self.publish_all([message])
        if problem is not None:
            raise problem

    async def publish_all(self, messages: Sequence[OutgoingMessage]) -> list[PublishResult]:
        """Store messages in their streams, in order; what became of each; raises MessagingUnavailable when none was sent."""
        self.check_connection()
        assert self._client is not None  # noqa: S101  narrowed by check
        try:
            return await self._publisher.publish_batch(self._client, messages)
        except NATS_UNAVAILABLE_ERRORS as error:
            raise MessagingUnavailable(f"Publishing failed: {error!r}") from error

    def wake_relay(self) -> bool:
        """Wake the relay, once for many commits of one moment; whether the bus is there to do it."""
        if self.is_connected and (self._wake_task is None or self._wake_task.done()):
            self._wake_task = asyncio.create_task(self._publish_wake())
        return self.is_connected

    async def _publish_wake(self) -> None:
        assert self._client is not None  # noqa: S101  narrowed by poke
        with suppress(*NATS_UNAVAILABLE_ERRORS):  # the relay looks by itself, too, only later
            await self._client.publish(RELAY_WAKE_SUBJECT, b"")

    async def subscribe(self, subject: str, callback: Callable[[bytes], None]) -> None:
        """Call `heard` with every message on a plain subject, over all reconnects."""

        async def on_message(message: Msg) -> None:
            callback(message.data)

        self._subscriptions.append((subject, on_message))
        if self.is_connected and self._client is not None:
            await self._client.subscribe(subject, cb=on_message)
        elif self._client is not None:
            self._deferred_calls.append(lambda client: client.subscribe(subject, cb=on_message))

    async def open_consumer(self, stream: str, consumer: str, *, capacity: int) -> "PullConsumer":
        """Messages of a durable consumer, never more than `capacity` in hand."""
        pull = PullConsumer(stream, consumer, capacity=capacity)
        self._consumers.append(pull)
        if self.is_connected and self._client is not None:
            await pull.attach_client(self._client)
        elif self._client is not None:
            self._deferred_calls.append(pull.attach_client)
        return pull

    async def ensure_streams(self) -> None:
        """Create or update streams and durable consumers; raises MessagingUnavailable. For the administrator's connection."""
        self.check_connection()
        assert self._client is not None  # noqa: S101
        js = self._client.jetstream(timeout=5)
        try:
            for config in make_stream_configs(self._replicas):
                try:
                    await js.update_stream(config)
                except NotFoundError:
                    await js.add_stream(config)
            for stream, consumer in make_consumer_configs():
                await js.add_consumer(stream, consumer)
        except NATS_UNAVAILABLE_ERRORS as error:
            raise MessagingUnavailable(f"The streams could not be made: {error!r}") from error
