"""The live feed, whole and in order: what the bus brings, with gaps filled from the database."""

import asyncio
import json
import struct
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Protocol

from storefleet.core.errors import DatabaseUnavailable
from storefleet.core.messages import UnreadableMessage, split_event
from storefleet.core.models import Event
from storefleet.database.pool import Database
from storefleet.observability import logs

log = logs.get_logger(__name__)

_POLL_INTERVAL_S = 1.0
_DELIVERIES_PER_YIELD = 200


class Listener(Protocol):
    """Somebody who hears one tenant's events."""

    tenant_id: str

    def deliver_event(self, seq: int, wire: bytes) -> None: ...


def encode_text_frame(text: str) -> bytes:
    """A text message as a server's websocket frame (RFC 6455 §5.2): whole, not masked, made once for everybody."""
    payload = text.encode()
    size = len(payload)
    if size < 126:
        head = struct.pack(">BB", 0x81, size)
    elif size < 65_536:
        head = struct.pack(">BBH", 0x81, 126, size)
    else:
        head = struct.pack(">BBQ", 0x81, 127, size)
    return head + payload


def format_event(event: Event) -> str:
    """The event as sockets write it."""
    shape = event.to_json()
    shape.pop("id")
    return json.dumps(shape, separators=(",", ":"))


class EventFeed:
    """One task hands every event to the listeners of its tenant.

    `watermark` is, from `begun` on, the last number handed on.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: dict[str, set[Listener]] = defaultdict(set)
        self._received: asyncio.Queue[tuple[int, str, str]] = asyncio.Queue(maxsize=10_000)
        self._was_behind = False
        self.started = asyncio.Event()
        self.watermark = 0

    def add_listener(self, listener: Listener) -> None:
        self._listeners[listener.tenant_id].add(listener)

    def remove_listener(self, listener: Listener) -> None:
        self._listeners[listener.tenant_id].discard(listener)

    def list_listeners(self) -> Iterable[Listener]:
        return [listener for group in self._listeners.values() for listener in group]

    def receive_message(self, body: bytes) -> None:
        """A message of the live subject; what cannot be kept now is read from the database later."""
        try:
            envelope, data = split_event(body)
            item = (
                int(envelope["seq"]),
                str(envelope["tenantid"]),
                _format_message(envelope, data),
            )
        except (UnreadableMessage, KeyError, TypeError, ValueError) as error:
            log.warning("live_message_unreadable", error=str(error))
            return
        if not self._received.full():
            self._received.put_nowait(item)

    async def run(self) -> None:
        await self._read_initial_watermark()
        while True:
            try:
                async with asyncio.timeout(
                    _POLL_INTERVAL_S
                ):  # wait_for swallows a cancel that comes together with an item
                    seq, tenant_id, frame = await self._received.get()
            except TimeoutError:
                await self._check_for_gap()
                continue
            if seq > self.watermark + 1:
                await self._fill_gap(seq - 1)
            if seq == self.watermark + 1:
                await self._deliver(seq, tenant_id, frame)

    async def _read_initial_watermark(self) -> None:
        while True:
            try:
                async with self._database.autocommit() as db:
                    self.watermark = await db.events.read_last_seq()
            except DatabaseUnavailable:
                await asyncio.sleep(0.5)
            else:
                self.started.set()
                return

    async def _check_for_gap(self) -> None:
        """Nothing came for a while: if there is more in the database twice in a row, the bus has lost it."""
        try:
            async with self._database.autocommit() as db:
                last = await db.events.read_last_seq()
        except DatabaseUnavailable:
            return
        if last > self.watermark and self._was_behind:
            await self._fill_gap(last)
        self._was_behind = last > self.watermark

    async def _fill_gap(self, last_seq: int) -> None:
        """Read what is missing up to and with `until`, and hand it on."""
        log.info("gap_filled", after=self.watermark, until=last_seq)
        while self.watermark < last_seq:
            try:
                async with self._database.autocommit() as db:
                    events = await db.events.list_between(
                        tenant_id=None, after=self.watermark, until=last_seq
                    )
            except DatabaseUnavailable:
                await asyncio.sleep(0.3)
                continue
            for event in events:
                await self._deliver(event.seq or 0, event.tenant_id, format_event(event))
            if not events:
                self.watermark = last_seq

    async def _deliver(self, seq: int, tenant_id: str, frame: str) -> None:
        self.watermark = seq
        wire = encode_text_frame(frame)
        for number, listener in enumerate(tuple(self._listeners.get(tenant_id, ())), start=1):
            listener.deliver_event(seq, wire)
            if number % _DELIVERIES_PER_YIELD == 0:
                await asyncio.sleep(0)


def _format_message(envelope: dict[str, Any], data: str) -> str:
    """As `frame_of` writes it; the data is handed on without being read."""
    head = json.dumps(
        {
            "seq": envelope["seq"],
            "type": envelope["type"],
            "time": envelope["time"],
            "store_id": envelope["storeid"],
            "operation_id": envelope.get("operationid"),
        },
        separators=(",", ":"),
    )
    return f'{head[:-1]},"data":{data}}}'
