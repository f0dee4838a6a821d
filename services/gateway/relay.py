"""The relay: publish outbox rows to NATS in order, in batches, under a lease.

PostgreSQL numbers the events when a batch is taken. NATS's acknowledgements are confirmed in the
outbox with the next take, so each round trip to the database does both. A row is published at least
once; the stream drops a repetition by its message id.
"""

import asyncio
import os
import secrets
import socket
import time
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from services.gateway.outbox_messages import (
    find_last_contiguous_seq,
    make_early_message,
    make_publishable_messages,
    record_dropped_row,
)
from storefleet.core import async_tasks
from storefleet.core.errors import DatabaseUnavailable, MessagingUnavailable
from storefleet.core.messages import RELAY_WAKE_SUBJECT
from storefleet.database.outbox_rows import OutboxRow
from storefleet.database.pool import Database
from storefleet.database.repositories.outbox import OUTBOX_CHANNEL, PendingMessage, PublishedRows
from storefleet.messaging import MessageBus
from storefleet.observability import logs, metrics

log = logs.get_logger(__name__)

_LEASE_DURATION = timedelta(seconds=5)
_IDLE_POLL_S = 1.0
#: Published rows are confirmed with the next take, or after this time if there is nothing to take.
_CONFIRM_DELAY_S = 0.05
_RETRY_DELAY_S = 0.2
#: A shorter outage, such as the connection to NATS at a start, is not worth a warning.
_BLOCK_WARNING_DELAY_S = 2.0
_BATCH_SIZE = 200
_MAX_BATCHES_IN_FLIGHT = 4
#: Under load, a take then finds the rows of several commits, at half the cost per row.
_MIN_TAKE_INTERVAL_S = 0.003


class BatchInFlight(NamedTuple):
    """A batch that is being published; its task returns the settled rows, and whether all are."""

    rows: Sequence[PendingMessage]
    task: asyncio.Task[tuple[PublishedRows, bool]]


class Relay:
    """Publishes the outbox while it holds the lease; the other gateways' relays stand by."""

    def __init__(self, *, database: Database, bus: MessageBus) -> None:
        self._database = database
        self._bus = bus
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._wake = asyncio.Event()
        # Oldest first; results are collected in this order, although later ones may end sooner.
        self._batches_in_flight: deque[BatchInFlight] = deque()
        # Acknowledged by NATS; confirmed in the outbox with the next take.
        self._unconfirmed = PublishedRows()
        # The last event that was sent, acknowledged or not. 0: take again from the last one that is
        # confirmed, after a lost lease or an incomplete batch.
        self._last_sent_seq = 0
        # Commands that were sent before the relay took their rows, by message id.
        self._early_sends: dict[str, asyncio.Task[bool]] = {}
        self._is_lease_holder = False
        # When the attempts began to fail, and whether that was logged: an outage is logged once.
        self._blocked_since: float | None = None
        self._is_block_logged = False

    async def run(self) -> None:
        """Relay until cancelled, then release the lease so that a standby takes over at once."""
        listener = asyncio.create_task(
            self._database.listen(OUTBOX_CHANNEL, lambda _payload: self._wake.set()),
            name="outbox listener",
        )
        await self._bus.subscribe(RELAY_WAKE_SUBJECT, lambda _body: self._wake.set())
        try:
            while True:
                self._wake.clear()
                started_at = time.monotonic()
                if not await self._relay_batch():
                    await self._wait_for_work()
                await asyncio.sleep(max(0.0, started_at + _MIN_TAKE_INTERVAL_S - time.monotonic()))
        finally:
            self._database.set_local_wake(OUTBOX_CHANNEL, None)
            await async_tasks.cancel_and_wait([listener, *self._early_sends.values()])
            await self._release_lease()

    def dispatch_command(self, command: OutboxRow) -> None:
        """Send a committed command at once, ahead of its row, to save the latency of a take.

        Delivery does not depend on it: the row is taken later and published again if this fails.
        The stream drops a message that was sent twice.
        """
        if len(self._early_sends) >= _BATCH_SIZE:
            self._early_sends = {
                message_id: task
                for message_id, task in self._early_sends.items()
                if not task.done()
            }
        has_capacity = len(self._early_sends) < _BATCH_SIZE
        if self._is_lease_holder and self._bus.is_connected and has_capacity:
            self._early_sends[command.id] = asyncio.create_task(
                self._send_early(command), name=f"early send of {command.id}"
            )

    async def _send_early(self, command: OutboxRow) -> bool:
        """Publish a command ahead of its row; return whether NATS has acknowledged it."""
        try:
            (error,) = await self._bus.publish_all([make_early_message(command)])
        except MessagingUnavailable:
            return False
        except Exception:  # the relay publishes or drops the row later
            log.exception("early_send_failed", message_id=command.id)
            return False
        if error is None:
            metrics.MESSAGES_PUBLISHED.labels(command.kind).inc()
        return error is None

    def _handle_local_wake(self) -> bool:
        """Wake the relay after a commit of this process; return True, so that NOTIFY is omitted."""
        self._wake.set()
        return True

    async def _wait_for_work(self) -> None:
        is_idle = (
            not self._batches_in_flight
            and not self._early_sends
            and self._unconfirmed == PublishedRows()
        )
        timeout_s = _IDLE_POLL_S if is_idle else _CONFIRM_DELAY_S
        try:
            async with asyncio.timeout(timeout_s):  # asyncio.wait_for can swallow a cancellation
                await self._wake.wait()
        except TimeoutError:
            if is_idle:
                await self._measure_lag()

    async def _relay_batch(self) -> bool:
        """Confirm, take and send one batch; return whether the outbox may contain more."""
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
            self._log_block(error)
            await asyncio.sleep(_RETRY_DELAY_S)
            return False
        self._blocked_since = None
        self._is_block_logged = False
        return rows is not None and len(rows) >= _BATCH_SIZE

    def _log_block(self, error: Exception) -> None:
        now = time.monotonic()
        self._blocked_since = self._blocked_since or now
        if self._is_block_logged or now - self._blocked_since < _BLOCK_WARNING_DELAY_S:
            return
        self._is_block_logged = True
        log.warning("relay_blocked", error=str(error), cause=repr(error.__cause__ or error))

    def _set_lease_holder(self, is_lease_holder: bool) -> None:
        """Only the lease holder is woken in process; a standby has no unacknowledged batches."""
        self._is_lease_holder = is_lease_holder
        self._database.set_local_wake(
            OUTBOX_CHANNEL, self._handle_local_wake if is_lease_holder else None
        )
        if not is_lease_holder:
            self._last_sent_seq = 0
            self._early_sends.clear()

    def _send_batch(self, rows: Sequence[PendingMessage]) -> None:
        """Start to publish a batch; the next one can be taken meanwhile."""
        numbers_in_flight = {row.number for batch in self._batches_in_flight for row in batch.rows}
        # A take returns no event up to `sent_seq`, but every other row until it is confirmed.
        rows = [
            row
            for row in rows
            if row.seq or not (row.number in numbers_in_flight or self._settle_early_send(row))
        ]
        if rows:
            self._last_sent_seq = max(self._last_sent_seq, *(row.seq or 0 for row in rows))
            self._batches_in_flight.append(
                BatchInFlight(rows, asyncio.create_task(self._publish_rows(rows)))
            )

    def _settle_early_send(self, row: PendingMessage) -> bool:
        """Settle the early send of a row; return False if the row has to be published.

        True means that the early send is pending or acknowledged. An acknowledged row is confirmed
        with the next take.
        """
        task = self._early_sends.get(row.id)
        if task is None or row.number is None:
            return False
        if not task.done():
            return True
        del self._early_sends[row.id]
        if task.cancelled() or not task.result():
            return False
        self._unconfirmed = PublishedRows(
            (*self._unconfirmed.row_numbers, row.number), self._unconfirmed.last_seq
        )
        return True

    async def _collect_published(self) -> None:
        """Collect the results of published batches, in order.

        Wait for the oldest batch if too many are in flight. After an incomplete batch, wait for all
        batches behind it and send their events again, so that events reach the stream in the order
        of their numbers.
        """
        is_complete = True
        while self._batches_in_flight and (
            self._batches_in_flight[0].task.done()
            or len(self._batches_in_flight) >= _MAX_BATCHES_IN_FLIGHT
            or not is_complete
        ):
            published, is_batch_complete = await self._batches_in_flight[0].task
            self._batches_in_flight.popleft()
            last_seq = published.last_seq if is_complete else 0
            self._unconfirmed = PublishedRows(
                (*self._unconfirmed.row_numbers, *published.row_numbers),
                max(self._unconfirmed.last_seq, last_seq),
            )
            is_complete = is_complete and is_batch_complete
        if not is_complete:
            self._last_sent_seq = 0
            await asyncio.sleep(_RETRY_DELAY_S)

    async def _publish_rows(self, rows: Sequence[PendingMessage]) -> tuple[PublishedRows, bool]:
        """Publish rows in order; return the settled ones, and whether all of them are settled.

        A row that can never be published counts as settled: it would block all others.
        """
        messages = make_publishable_messages(rows)
        try:
            outcomes = await self._bus.publish_all(list(messages.values())) if messages else []
        except MessagingUnavailable:
            return PublishedRows(), False
        errors = dict(zip(messages, outcomes, strict=True))
        settled = [row for row in rows if not isinstance(errors.get(row.id), MessagingUnavailable)]
        for row in settled:
            if row.id not in errors:
                continue  # make_publishable_messages has recorded it
            if (error := errors[row.id]) is None:
                metrics.MESSAGES_PUBLISHED.labels(row.kind).inc()
            else:
                record_dropped_row(row, error)
        is_complete = len(settled) == len(rows)
        if not is_complete:
            log.warning("outbox_publish_failed", settled=len(settled), total=len(rows))
        numbers = tuple(row.number for row in settled if row.number is not None)
        return PublishedRows(numbers, find_last_contiguous_seq(rows, settled)), is_complete

    async def _measure_lag(self) -> None:
        try:
            async with self._database.autocommit() as db:
                metrics.OUTBOX_LAG.set(await db.outbox.read_lag())
        except DatabaseUnavailable:
            return

    async def _release_lease(self) -> None:
        """Confirm what is published and release the lease; the next holder publishes the rest."""
        await async_tasks.cancel_and_wait(batch.task for batch in self._batches_in_flight)
        try:
            async with self._database.autocommit() as db:
                await db.outbox.release_lease(owner=self._owner, published=self._unconfirmed)
        except DatabaseUnavailable:
            return
