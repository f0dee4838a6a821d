"""The door to NATS JetStream: connect, publish, pull, follow; the one place with an ack policy.

nats-py's own `fetch` waits out its whole timeout over a server restart, so pulling is done here with idle heartbeats
and a new pull after every reconnect.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    RePublish,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import NotFoundError

from storefleet import logs, tasks
from storefleet.errors import BusAway, BusRefused
from storefleet.messages import (
    COMMANDS,
    COMMANDS_SUBJECT,
    DEAD,
    DEAD_SUBJECT,
    EVENTS,
    EVENTS_SUBJECT,
    LIVE_SUBJECT,
    WAKE_SUBJECT,
)

log = logs.get(__name__)

_DAY = 86_400
_PULL_EXPIRES = 30.0
_HEARTBEAT = 2.0
_AWAY = (NatsError, OSError, TimeoutError)
_ACK_WAIT = 30.0
_TOO_LARGE = 10054  # JSStreamMessageExceedsMaximumErr of nats-server


class Message(NamedTuple):
    """One delivery; exactly one of `done`, `later`, `never` ends it."""

    subject: str
    body: bytes
    raw: Msg

    async def done(self) -> None:
        with suppress(*_AWAY):  # a lost ack means one more delivery, which is harmless
            await self.raw.ack()

    async def later(self, delay: float) -> None:
        with suppress(*_AWAY):
            await self.raw.nak(delay=delay)

    async def never(self) -> None:
        with suppress(*_AWAY):
            await self.raw.term()


class Bus:
    """One connection that comes back by itself for as long as the process lives."""

    def __init__(self, url: str, *, name: str, replicas: int = 1) -> None:
        self._servers = url.split(",")
        self._name = name
        self._replicas = replicas
        self._client: Client | None = None
        self._subscriptions: list[tuple[str, Callable[[Msg], Awaitable[None]]]] = []
        self._pulls: list[Pull] = []
        self._poking: asyncio.Task[None] | None = None
        self._late: list[Callable[[Client], Awaitable[Any]]] = []  # asked for while the client was reconnecting

    @property
    def connected(self) -> bool:
        return self._client is not None and self._client.is_connected

    def check(self) -> None:
        """Raise BusAway when there is no connection."""
        if not self.connected:
            raise BusAway("The message bus does not answer at the moment; try again in a few seconds.")

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Bus"]:
        """Connect in the background: a bus that is away now may come later."""
        task = asyncio.create_task(self._stay_connected())
        try:
            yield self
        finally:
            await tasks.end([task])
            if self._client is not None:
                with suppress(Exception):  # whatever state it is in, it is thrown away
                    await asyncio.wait_for(self._client.close(), timeout=3)

    async def _stay_connected(self) -> None:
        while True:
            closed = asyncio.Event()
            try:
                async with asyncio.timeout(5):
                    self._client = await self._connect(closed)
                self._late.clear()
                for subject, heard in self._subscriptions:
                    await self._client.subscribe(subject, cb=heard)
                for pull in self._pulls:
                    await pull.attach(self._client)
                log.info("bus_connected")
                await closed.wait()
            except _AWAY as error:
                log.warning("bus_away", error=str(error) or type(error).__name__)
            await asyncio.sleep(0.5)

    async def _connect(self, closed: asyncio.Event) -> Client:
        user = urlsplit(self._servers[0]).username or self._name

        async def on_reconnect() -> None:
            log.info("bus_reconnected")
            while self._late and self._client is not None:
                await self._late.pop()(self._client)
            for pull in self._pulls:
                await pull.again()

        async def on_error(error: Exception) -> None:
            log.warning("bus_error", error=str(error) or type(error).__name__)

        async def on_closed() -> None:
            closed.set()

        return await nats.connect(
            servers=self._servers,
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

    async def publish(self, subject: str, body: bytes, *, message_id: str) -> None:
        """Store one message in its stream; raises BusAway when that is not acknowledged, BusRefused if it cannot be."""
        self.check()
        assert self._client is not None  # noqa: S101  narrowed by check
        try:
            answer = await self._client.request(subject, body, timeout=3, headers={"Nats-Msg-Id": message_id})
            ack = json.loads(answer.data)
        except MaxPayloadError as error:
            raise BusRefused(f"The message has {len(body)} bytes, which is too much.") from error
        except (*_AWAY, ValueError) as error:
            raise BusAway(f"Publishing was not acknowledged: {error!r}") from error
        if "stream" not in ack:
            reason = ack.get("error", {})
            refusal = BusRefused if reason.get("err_code") == _TOO_LARGE else BusAway
            raise refusal(f"Publishing was refused: {reason}")

    def poke(self) -> bool:
        """Wake the relay, once for many commits of one moment; whether the bus is there to do it."""
        if self.connected and (self._poking is None or self._poking.done()):
            self._poking = asyncio.create_task(self._poke())
        return self.connected

    async def _poke(self) -> None:
        assert self._client is not None  # noqa: S101  narrowed by poke
        with suppress(*_AWAY):  # the relay looks by itself, too, only later
            await self._client.publish(WAKE_SUBJECT, b"")

    async def follow(self, subject: str, heard: Callable[[bytes], None]) -> None:
        """Call `heard` with every message on a plain subject, over all reconnects."""

        async def on_message(message: Msg) -> None:
            heard(message.data)

        self._subscriptions.append((subject, on_message))
        if self.connected and self._client is not None:
            await self._client.subscribe(subject, cb=on_message)
        elif self._client is not None:
            self._late.append(lambda client: client.subscribe(subject, cb=on_message))

    async def pull(self, stream: str, consumer: str, *, capacity: int) -> "Pull":
        """Messages of a durable consumer, never more than `capacity` in hand."""
        pull = Pull(stream, consumer, capacity=capacity)
        self._pulls.append(pull)
        if self.connected and self._client is not None:
            await pull.attach(self._client)
        elif self._client is not None:
            self._late.append(pull.attach)
        return pull

    async def ensure_streams(self) -> None:
        """Create or update streams and durable consumers; raises BusAway. For the administrator's connection."""
        self.check()
        assert self._client is not None  # noqa: S101
        js = self._client.jetstream(timeout=5)
        try:
            for config in stream_configs(self._replicas):
                try:
                    await js.update_stream(config)
                except NotFoundError:
                    await js.add_stream(config)
            for stream, consumer in consumer_configs():
                await js.add_consumer(stream, consumer)
        except _AWAY as error:
            raise BusAway(f"The streams could not be made: {error!r}") from error


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
                async with asyncio.timeout(_HEARTBEAT):  # wait_for swallows a cancel that comes with a message
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
            with suppress(*_AWAY):
                await self._subscription.unsubscribe()
        while not self._queue.empty():
            await self._queue.get_nowait().later(0)

    async def _ask(self) -> None:
        wanted = self._capacity - self._in_hand - self._asked
        if wanted <= 0 or self._stopped or self._client is None or not self._client.is_connected:
            return
        self._asked += wanted
        self._last = time.monotonic()
        request = {
            "batch": wanted,
            "expires": int(_PULL_EXPIRES * 1e9),
            "idle_heartbeat": int(_HEARTBEAT * 1e9),
        }
        with suppress(*_AWAY):  # the reconnect or the watchdog asks again
            await self._client.publish(self._subject, json.dumps(request).encode(), reply=f"{self._inbox}.pull")

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
        if headers.get("Status") != "408":  # the consumer is missing or refuses: not in a tight loop
            log.warning("pull_refused", status=headers.get("Status"), reason=headers.get("Description"))
            await asyncio.sleep(0.5)
        await self._ask()


def stream_configs(replicas: int) -> list[StreamConfig]:
    """The streams of the platform."""
    common: dict[str, Any] = {
        "storage": StorageType.FILE,
        "num_replicas": replicas,
        "duplicate_window": 600,
        "max_msg_size": 131_072,
    }
    return [
        StreamConfig(
            name=COMMANDS,
            subjects=[f"{COMMANDS_SUBJECT}.>"],
            retention=RetentionPolicy.WORK_QUEUE,
            discard=DiscardPolicy.NEW,
            max_age=7 * _DAY,
            max_bytes=256 << 20,
            **common,
        ),
        StreamConfig(
            name=EVENTS,
            subjects=[f"{EVENTS_SUBJECT}.>"],
            retention=RetentionPolicy.LIMITS,
            discard=DiscardPolicy.OLD,
            max_age=7 * _DAY,
            max_bytes=1 << 30,
            republish=RePublish(src=f"{EVENTS_SUBJECT}.>", dest=f"{LIVE_SUBJECT}.>"),
            **common,
        ),
        StreamConfig(
            name=DEAD,
            subjects=[f"{DEAD_SUBJECT}.>"],
            retention=RetentionPolicy.LIMITS,
            discard=DiscardPolicy.OLD,
            max_age=30 * _DAY,
            max_bytes=128 << 20,
            **common,
        ),
    ]


def consumer_configs() -> list[tuple[str, ConsumerConfig]]:
    """The durable consumers, one a working service."""
    return [
        (
            COMMANDS,
            ConsumerConfig(
                durable_name=service,
                filter_subject=f"{COMMANDS_SUBJECT}.{service}.>",
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=_ACK_WAIT,
                max_ack_pending=1000,
            ),
        )
        for service in ("provisioner", "reaper")
    ]
