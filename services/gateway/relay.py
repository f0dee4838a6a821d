"""The relay: publishes outbox rows in order, numbers the events, marks what the bus has acknowledged."""

import asyncio
import base64
import json
import os
import secrets
import socket
import time
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from storefleet.core import async_tasks
from storefleet.core.errors import DatabaseUnavailable, MessagingUnavailable
from storefleet.core.messages import RELAY_WAKE_SUBJECT, encode_cloud_event
from storefleet.core.models import utc_now
from storefleet.database.outbox import OUTBOX_CHANNEL, PendingMessage, PublishedRows
from storefleet.database.outbox_rows import OutboxRow
from storefleet.database.pool import Database
from storefleet.messaging import MessageBus, OutgoingMessage
from storefleet.observability import logs, metrics

log = logs.get_logger(__name__)

_LEASE_DURATION = timedelta(seconds=5)
_IDLE_POLL_S = 1.0
_CONFIRM_DELAY_S = 0.05  # what was published is noted with the next take, or this long after
_BATCH_SIZE = 200
_MAX_BATCHES_IN_FLIGHT = 4  # batches on their way at once
_MIN_TAKE_INTERVAL_S = 0.003  # between two takes: under load each then takes several commits' rows, at half the cost of a row


class BatchInFlight(NamedTuple):
    """A batch on its way to the bus; its task tells what of it has arrived, and whether that is all."""

    rows: Sequence[PendingMessage]
    task: asyncio.Task[tuple[PublishedRows, bool]]


class Relay:
    """One of these works at a time, in whichever gateway holds the lease."""

    def __init__(self, *, database: Database, bus: MessageBus) -> None:
        self._database = database
        self._bus = bus
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._wake = asyncio.Event()
        self._batches_in_flight: deque[BatchInFlight] = deque()
        self._unconfirmed = PublishedRows()  # acknowledged, and noted together with the next take
        self._last_sent_seq = 0  # the last event on its way
        self._early_sends: dict[
            str, asyncio.Task[bool]
        ] = {}  # commands that left before their row was taken, by id
        self._is_lease_holder = False
        self._is_blocked = False

    async def run(self) -> None:
        """Relay until cancelled; then let another one go on at once."""
        listener = asyncio.create_task(
            self._database.listen(OUTBOX_CHANNEL, lambda _payload: self._wake.set())
        )
        await self._bus.subscribe(RELAY_WAKE_SUBJECT, lambda _body: self._wake.set())
        try:
            while True:
                self._wake.clear()
                began = time.monotonic()
                if not await self._relay_batch():
                    await self._wait_for_work()
                await asyncio.sleep(max(0.0, began + _MIN_TAKE_INTERVAL_S - time.monotonic()))
        finally:
            self._database.set_local_wake(OUTBOX_CHANNEL, None)
            await async_tasks.cancel_and_wait([listener, *self._early_sends.values()])
            await self._release_lease()

    def dispatch_command(self, command: OutboxRow) -> None:
        """Send a committed command at once; its row, which is taken later, is what makes sure of it."""
        if (
            len(self._early_sends) >= _BATCH_SIZE
        ):  # a row that is sent twice is dropped by its stream
            self._early_sends = {
                id_: task for id_, task in self._early_sends.items() if not task.done()
            }
        if (
            self._is_lease_holder
            and self._bus.is_connected
            and len(self._early_sends) < _BATCH_SIZE
        ):
            self._early_sends[command.id] = asyncio.create_task(self._send_early(command))

    async def _send_early(self, command: OutboxRow) -> bool:
        """Whether the bus has it."""
        try:
            row = PendingMessage(None, *command[:-1], utc_now(), json.dumps(command.data), None)
            (outcome,) = await self._bus.publish_all([make_message(row)])
        except MessagingUnavailable:
            return False
        except Exception:  # its row is looked at by itself, and says what is wrong
            log.exception("command_not_sent_ahead", message_id=command.id)
            return False
        if outcome is None:
            metrics.MESSAGES_PUBLISHED.labels(row.kind).inc()
        return outcome is None

    def _handle_local_wake(self) -> bool:
        self._wake.set()
        return True

    async def _wait_for_work(self) -> None:
        idle = (
            not self._batches_in_flight
            and not self._early_sends
            and self._unconfirmed == PublishedRows()
        )
        try:
            async with asyncio.timeout(
                _IDLE_POLL_S if idle else _CONFIRM_DELAY_S
            ):  # wait_for swallows cancels
                await self._wake.wait()
        except TimeoutError:
            if idle:
                await self._measure_lag()

    async def _relay_batch(self) -> bool:
        """Whether there may be more."""
        try:
            self._bus.check_connection()
            await self._collect_published()
            async with self._database.autocommit() as db:
                rows = await db.outbox.take_batch(
                    owner=self._owner,
                    lease_duration=_LEASE_DURATION,
                    batch_size=_BATCH_SIZE,
                    published=self._unconfirmed,
                    sent_seq=self._last_sent_seq,
                )
            self._unconfirmed = PublishedRows()
            self._set_lease_holder(rows is not None)
            self._send_batch(rows or ())
        except (MessagingUnavailable, DatabaseUnavailable) as error:
            if not self._is_blocked:
                log.warning("relay_waits", error=str(error), cause=repr(error.__cause__))
            self._is_blocked = True
            await asyncio.sleep(0.2)
            return False
        self._is_blocked = False
        return rows is not None and len(rows) >= _BATCH_SIZE

    def _set_lease_holder(self, is_lease_holder: bool) -> None:
        """Whoever holds the lease is woken by a call; whoever does not has sent nothing that counts."""
        self._is_lease_holder = is_lease_holder
        self._database.set_local_wake(
            OUTBOX_CHANNEL, self._handle_local_wake if is_lease_holder else None
        )
        if not is_lease_holder:
            self._last_sent_seq = 0
            self._early_sends.clear()

    def _send_batch(self, rows: Sequence[PendingMessage]) -> None:
        """Send a batch off; the next one may be taken meanwhile."""
        flying = {row.number for flight in self._batches_in_flight for row in flight.rows}
        rows = [
            row
            for row in rows
            if row.seq or not (row.number in flying or self._was_sent_early(row))
        ]
        if rows:
            self._last_sent_seq = max(self._last_sent_seq, *(row.seq or 0 for row in rows))
            self._batches_in_flight.append(
                BatchInFlight(rows, asyncio.create_task(self._publish_rows(rows)))
            )

    def _was_sent_early(self, row: PendingMessage) -> bool:
        """A command that left by itself is noted when the bus has it, and sent with its row when the bus has not."""
        sending = self._early_sends.get(row.id)
        if sending is None or row.number is None:
            return False
        if not sending.done():
            return True
        del self._early_sends[row.id]
        if sending.cancelled() or not sending.result():
            return False
        self._unconfirmed = PublishedRows(
            (*self._unconfirmed.row_numbers, row.number), self._unconfirmed.last_seq
        )
        return True

    async def _collect_published(self) -> None:
        """Collect what has arrived; after a batch that did not arrive whole, everything behind it is sent again."""
        whole = True
        while self._batches_in_flight and (
            self._batches_in_flight[0].task.done()
            or len(self._batches_in_flight) >= _MAX_BATCHES_IN_FLIGHT
            or not whole
        ):
            flight = self._batches_in_flight[0]
            arrived, complete = await flight.task
            self._batches_in_flight.popleft()
            noted = self._unconfirmed
            until = arrived.last_seq if whole else 0
            self._unconfirmed = PublishedRows(
                (*noted.row_numbers, *arrived.row_numbers), max(noted.last_seq, until)
            )
            whole = whole and complete
        if not whole:
            self._last_sent_seq = 0
            await asyncio.sleep(0.2)

    async def _publish_rows(self, rows: Sequence[PendingMessage]) -> tuple[PublishedRows, bool]:
        """Publish the rows together, in order; what of it the bus has, and whether that is all.

        What never can be published counts as done, since it would block all.
        """
        ready = {row.id: made for row in rows if (made := _try_make_message(row)) is not None}
        try:
            outcomes = await self._bus.publish_all(list(ready.values())) if ready else []
        except MessagingUnavailable:
            return PublishedRows(), False
        sent = dict(zip(ready, outcomes, strict=True))
        settled = [row for row in rows if not isinstance(sent.get(row.id), MessagingUnavailable)]
        for row in settled:
            if row.id not in sent:
                continue  # it was dropped before
            if (outcome := sent[row.id]) is None:
                metrics.MESSAGES_PUBLISHED.labels(row.kind).inc()
            else:
                _record_dropped_row(row, outcome)
        whole = len(settled) == len(rows)
        if not whole:
            log.warning("relay_incomplete", settled=len(settled), of=len(rows))
        numbers = tuple(row.number for row in settled if row.number is not None)
        return PublishedRows(numbers, find_last_contiguous_seq(rows, settled)), whole

    async def _measure_lag(self) -> None:
        try:
            async with self._database.autocommit() as db:
                metrics.OUTBOX_LAG.set(await db.outbox.read_lag())
        except DatabaseUnavailable:
            return

    async def _release_lease(self) -> None:
        """Note what has arrived, and give the lease back; what is still on its way is published again by the next."""
        await async_tasks.cancel_and_wait(flight.task for flight in self._batches_in_flight)
        try:
            async with self._database.autocommit() as db:
                await db.outbox.release_lease(owner=self._owner, published=self._unconfirmed)
        except DatabaseUnavailable:
            return


def _try_make_message(row: PendingMessage) -> OutgoingMessage | None:
    """The message, or None for a row that nothing can be made of: it must not hold up those behind it."""
    try:
        return make_message(row)
    except Exception as error:  # noqa: BLE001  whatever it holds, the others go on
        _record_dropped_row(row, error)
        return None


def _record_dropped_row(row: PendingMessage, error: Exception) -> None:
    metrics.OUTBOX_ROWS_DROPPED.labels(row.kind).inc()
    log.error(
        "relay_row_dropped",
        message_id=row.id,
        type=row.type,
        store_id=row.store_id,
        operation_id=row.operation_id,
        error=repr(error),
    )


def make_message(row: PendingMessage) -> OutgoingMessage:
    if row.kind == "raw":  # a dead letter that somebody replays, byte for byte
        return OutgoingMessage(
            row.subject, base64.b64decode(json.loads(row.data)["base64"]), row.id
        )
    extensions = {
        "seq": row.seq,
        "tenantid": row.tenant_id,
        "storeid": row.store_id,
        "operationid": row.operation_id,
    }
    body = encode_cloud_event(
        message_id=row.id,
        message_type=row.type,
        subject=row.store_id or row.id,
        time=row.time,
        data=row.data,
        extensions={key: value for key, value in extensions.items() if value is not None},
    )
    return OutgoingMessage(row.subject, body, row.id)


def find_last_contiguous_seq(
    rows: Sequence[PendingMessage], settled: Sequence[PendingMessage]
) -> int:
    """The last event that is settled with all before it; 0 when there is none."""
    done, last = {row.seq for row in settled}, 0
    for row in rows:
        if row.seq is not None:
            if row.seq not in done:
                break
            last = row.seq
    return last
