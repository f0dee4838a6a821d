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
from storefleet.database.outbox import Waiting
from storefleet.database.pool import Database
from storefleet.errors import BusAway, DatabaseAway
from storefleet.messages import encode

log = logs.get(__name__)

_LEASE = timedelta(seconds=5)
_POLL = 1.0
_BATCH = 200


class Relay:
    """One of these works at a time, in whichever gateway holds the lease."""

    def __init__(self, *, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._wake = asyncio.Event()
        self._published: list[int] = []  # acknowledged, and marked together with the next take
        self._waiting = False

    async def run(self) -> None:
        """Relay until cancelled; then let another one go on at once."""
        listener = asyncio.create_task(self._database.listen(outbox.CHANNEL, lambda _payload: self._wake.set()))
        try:
            while True:
                self._wake.clear()
                if not await self._relay_some():
                    await self._pause()
        finally:
            listener.cancel()
            await self._release()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(_POLL):  # wait_for swallows a cancel that comes together with the event
                await self._wake.wait()
        except TimeoutError:
            await self._measure()

    async def _relay_some(self) -> bool:
        """Whether there may be more."""
        try:
            self._bus.check()
            async with self._database.connection() as conn:
                rows = await outbox.take(conn, owner=self._owner, lease=_LEASE, batch=_BATCH, published=self._published)
            self._published = await self._publish(rows) if rows else []
        except (BusAway, DatabaseAway) as error:
            if not self._waiting:
                log.warning("relay_waits", error=str(error), cause=repr(error.__cause__))
            self._waiting = True
            await asyncio.sleep(0.2)
            return False
        self._waiting = False
        return bool(self._published)

    async def _publish(self, rows: Sequence[Waiting]) -> list[int]:
        """Publish the rows together, in order; returns the numbers of those that were acknowledged."""
        results = await asyncio.gather(*(self._publish_one(row) for row in rows), return_exceptions=True)
        published = []
        for row, result in zip(rows, results, strict=True):
            if result is None:
                published.append(row.number)
                metrics.PUBLISHED.labels(row.kind).inc()
            elif not isinstance(result, BusAway):
                log.error("relay_row_failed", message_id=row.id, error=repr(result))
        if len(published) < len(rows):
            log.warning("relay_incomplete", published=len(published), of=len(rows))
            await asyncio.sleep(0.2)
        return published

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
