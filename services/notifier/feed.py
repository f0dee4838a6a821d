"""The ordered feed of live events: the live subject, with gaps filled from PostgreSQL.

NATS may lose messages of the live subject; the event history has all of them. The feed delivers
every event once, in the order of `seq`, to the listeners of its tenant in this replica.
"""

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
_START_RETRY_S = 0.5
_GAP_RETRY_S = 0.3
_QUEUE_SIZE = 10_000  # events; an overflow leaves a gap, which is filled from PostgreSQL
_DELIVERIES_PER_YIELD = 200  # so that a tenant with many listeners does not block the others


class Listener(Protocol):
    """Receives the events of one tenant."""

    tenant_id: str

    def deliver_event(self, seq: int, frame: bytes) -> None:
        """Write an event, encoded as a whole websocket frame; must not block."""
        ...


class EventFeed:
    """Delivers every event to the listeners of its tenant, in order, from one task.

    Once `started` is set, `watermark` is the `seq` of the last delivered event.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: dict[str, set[Listener]] = defaultdict(set)
        self._received: asyncio.Queue[tuple[int, str, str]] = asyncio.Queue(maxsize=_QUEUE_SIZE)
        self._was_behind = False
        self.started = asyncio.Event()
        self.watermark = 0

    def add_listener(self, listener: Listener) -> None:
        """Deliver the events of the listener's tenant to it from now on."""
        self._listeners[listener.tenant_id].add(listener)

    def remove_listener(self, listener: Listener) -> None:
        """Stop delivering events to the listener."""
        self._listeners[listener.tenant_id].discard(listener)

    def list_listeners(self) -> Iterable[Listener]:
        """List the listeners of all tenants."""
        return [listener for group in self._listeners.values() for listener in group]

    def receive_message(self, body: bytes) -> None:
        """Queue a message of the live subject; a full queue or a bad message leaves a gap."""
        try:
            envelope, data = split_event(body)
            item = (
                int(envelope["seq"]),
                str(envelope["tenantid"]),
                _format_message(envelope, data),
            )
        except (UnreadableMessage, KeyError, TypeError, ValueError) as error:
            log.warning("live_message_rejected", error=str(error))
            return
        if not self._received.full():
            self._received.put_nowait(item)

    async def run(self) -> None:
        """Deliver events until cancelled."""
        await self._read_initial_watermark()
        while True:
            try:
                # asyncio.wait_for can swallow a cancellation that arrives together with an item.
                async with asyncio.timeout(_POLL_INTERVAL_S):
                    seq, tenant_id, text = await self._received.get()
            except TimeoutError:
                await self._check_for_gap()
                continue
            if seq > self.watermark + 1:
                await self._fill_gap(seq - 1)
            if seq == self.watermark + 1:
                await self._deliver(seq, tenant_id, text)

    async def _read_initial_watermark(self) -> None:
        while True:
            try:
                async with self._database.autocommit() as db:
                    self.watermark = await db.events.read_last_seq()
            except DatabaseUnavailable:
                await asyncio.sleep(_START_RETRY_S)
            else:
                self.started.set()
                return

    async def _check_for_gap(self) -> None:
        """Fill a gap that no later event reveals.

        PostgreSQL must be ahead at two checks in a row: at the first one, the event may still be on
        its way over NATS.
        """
        try:
            async with self._database.autocommit() as db:
                last_seq = await db.events.read_last_seq()
        except DatabaseUnavailable:
            return
        if last_seq > self.watermark and self._was_behind:
            await self._fill_gap(last_seq)
        self._was_behind = last_seq > self.watermark

    async def _fill_gap(self, last_seq: int) -> None:
        """Read the missing events up to and including `last_seq`, and deliver them."""
        log.info("gap_filled", after=self.watermark, until=last_seq)
        while self.watermark < last_seq:
            try:
                async with self._database.autocommit() as db:
                    events = await db.events.list_between(
                        tenant_id=None, after=self.watermark, until=last_seq
                    )
            except DatabaseUnavailable:
                await asyncio.sleep(_GAP_RETRY_S)
                continue
            for event in events:
                await self._deliver(event.seq or 0, event.tenant_id, format_event(event))
            if not events:  # the history does not contain the missing events (any more)
                self.watermark = last_seq

    async def _deliver(self, seq: int, tenant_id: str, text: str) -> None:
        self.watermark = seq
        frame = encode_text_frame(text)
        for number, listener in enumerate(tuple(self._listeners.get(tenant_id, ())), start=1):
            listener.deliver_event(seq, frame)
            if number % _DELIVERIES_PER_YIELD == 0:
                await asyncio.sleep(0)


def encode_text_frame(text: str) -> bytes:
    """Encode a text message as a server's websocket frame: final, unmasked (RFC 6455 §5.2).

    An event is encoded once for all its listeners.
    """
    payload = text.encode()
    size_bytes = len(payload)
    if size_bytes < 126:
        head = struct.pack(">BB", 0x81, size_bytes)
    elif size_bytes < 65_536:
        head = struct.pack(">BBH", 0x81, 126, size_bytes)
    else:
        head = struct.pack(">BBQ", 0x81, 127, size_bytes)
    return head + payload


def format_event(event: Event) -> str:
    """Format an event of the history as the JSON text that websockets carry."""
    shape = event.to_json()
    shape.pop("id")
    return json.dumps(shape, separators=(",", ":"))


def _format_message(envelope: dict[str, Any], data: str) -> str:
    """Format a live message like `format_event`; its data is passed on without being parsed."""
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
