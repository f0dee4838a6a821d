"""The relay: publishes outbox rows in order, numbers the events, marks what the bus has acknowledged."""

import asyncio
import base64
import json
import os
import secrets
import socket
from collections.abc import Sequence
from datetime import timedelta

from storefleet import logs, metrics
from storefleet.bus import Bus
from storefleet.database import outbox
from storefleet.database.outbox import Published, Waiting
from storefleet.database.pool import Database
from storefleet.errors import BusAway, DatabaseAway
from storefleet.messages import WAKE_SUBJECT, encode

log = logs.get(__name__)

_LEASE = timedelta(seconds=5)
_POLL = 1.0
_NOTE = 0.05  # what was published is noted with the next take, or this long after
_BATCH = 200


class Relay:
    """One of these works at a time, in whichever gateway holds the lease."""

    def __init__(self, *, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._wake = asyncio.Event()
        self._published = Published()  # acknowledged, and noted together with the next take
        self._waiting = False

    async def run(self) -> None:
        """Relay until cancelled; then let another one go on at once."""
        listener = asyncio.create_task(self._database.listen(outbox.CHANNEL, lambda _payload: self._wake.set()))
        await self._bus.follow(WAKE_SUBJECT, lambda _body: self._wake.set())
        try:
            while True:
                self._wake.clear()
                if not await self._relay_some():
                    await self._pause()
        finally:
            listener.cancel()
            self._database.serve(outbox.CHANNEL, None)
            await self._release()

    def _woken(self) -> bool:
        self._wake.set()
        return True

    async def _pause(self) -> None:
        noted = self._published == Published()
        try:
            async with asyncio.timeout(_POLL if noted else _NOTE):  # wait_for swallows cancels
                await self._wake.wait()
        except TimeoutError:
            if noted:
                await self._measure()

    async def _relay_some(self) -> bool:
        """Whether there may be more."""
        try:
            self._bus.check()
            async with self._database.connection() as conn:
                rows = await outbox.take(conn, owner=self._owner, lease=_LEASE, batch=_BATCH, published=self._published)
            self._database.serve(outbox.CHANNEL, None if rows is None else self._woken)
            self._published = await self._publish(rows or ())
        except (BusAway, DatabaseAway) as error:
            if not self._waiting:
                log.warning("relay_waits", error=str(error), cause=repr(error.__cause__))
            self._waiting = True
            await asyncio.sleep(0.2)
            return False
        self._waiting = False
        return rows is not None and len(rows) >= _BATCH

    async def _publish(self, rows: Sequence[Waiting]) -> Published:
        """Publish the rows together, in order; what never can be published counts as done, since it would block all."""
        results = await asyncio.gather(*(self._publish_one(row) for row in rows), return_exceptions=True)
        settled = []
        for row, result in zip(rows, results, strict=True):
            if isinstance(result, BusAway):
                continue
            settled.append(row)
            if result is None:
                metrics.PUBLISHED.labels(row.kind).inc()
            else:
                log.error("relay_row_dropped", message_id=row.id, type=row.type, error=repr(result))
        if len(settled) < len(rows):
            log.warning("relay_incomplete", settled=len(settled), of=len(rows))
            await asyncio.sleep(0.2)
            self._wake.set()
        return Published(
            tuple(row.number for row in settled if row.number is not None), _last_before_a_gap(rows, settled)
        )

    async def _publish_one(self, row: Waiting) -> None:
        if row.kind == "raw":  # a dead letter that somebody replays, byte for byte
            await self._bus.publish(row.subject, base64.b64decode(json.loads(row.data)["base64"]), message_id=row.id)
            return
        extensions = {
            "seq": row.seq,
            "tenantid": row.tenant_id,
            "storeid": row.store_id,
            "operationid": row.operation_id,
        }
        body = encode(
            message_id=row.id,
            message_type=row.type,
            subject=row.store_id or row.id,
            time=row.time,
            data=row.data,
            extensions={key: value for key, value in extensions.items() if value is not None},
        )
        await self._bus.publish(row.subject, body, message_id=row.id)

    async def _measure(self) -> None:
        try:
            async with self._database.connection() as conn:
                metrics.OUTBOX_LAG.set(await outbox.lag(conn))
        except DatabaseAway:
            return

    async def _release(self) -> None:
        try:
            async with self._database.connection() as conn:
                await outbox.release(conn, owner=self._owner, published=self._published)
        except DatabaseAway:
            return


def _last_before_a_gap(rows: Sequence[Waiting], settled: Sequence[Waiting]) -> int:
    """The last event that is settled with all before it; 0 when there is none."""
    done, last = {row.seq for row in settled}, 0
    for row in rows:
        if row.seq is not None:
            if row.seq not in done:
                break
            last = row.seq
    return last
