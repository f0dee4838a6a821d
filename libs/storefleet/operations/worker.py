"""Works on operations: claim a row, run its steps under the lease, write every transition with its event.

The provisioner and the reaper are this worker with different consumers and steps.
"""

import asyncio
import os
import secrets
import socket
from datetime import timedelta

import structlog

from storefleet.core.errors import DatabaseAway
from storefleet.core.messages import COMMANDS, Command, UnreadableMessage, read_command
from storefleet.core.models import Operation, Store, now
from storefleet.core.settings import Settings
from storefleet.database import dead_letters, operations, outbox
from storefleet.database.pool import Database
from storefleet.messaging import Bus, Message, Pull
from storefleet.observability import logs, metrics
from storefleet.operations.recorder import Ledger
from storefleet.operations.run import Run
from storefleet.operations.step_plans import Plans

log = logs.get(__name__)


class Worker:
    """Up to `settings.workers` operations at once."""

    def __init__(
        self, *, service: str, plans: Plans, database: Database, bus: Bus, settings: Settings
    ) -> None:
        self._service = service
        self._plans = plans
        self._database = database
        self._bus = bus
        self._settings = settings
        self._ledger = Ledger(database)
        self._name = f"{service}@{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._lease = timedelta(seconds=settings.lease)
        self._tasks: set[asyncio.Task[None]] = set()
        self._runs: dict[str, Run] = {}

    async def run(self) -> None:
        """Take commands until cancelled; then let running work finish for the grace period, and hand back the rest."""
        self._database.serve(outbox.CHANNEL, self._bus.poke)
        pull = await self._bus.pull(COMMANDS, self._service, capacity=self._settings.workers)
        listener = asyncio.create_task(
            self._database.listen(operations.CANCEL_CHANNEL, self._heard_cancel)
        )
        try:
            while True:
                task = asyncio.create_task(self._handle(await pull.next(), pull))
                self._tasks.add(task)
                task.add_done_callback(self._ended)
        finally:
            await pull.stop()
            await self._drain()
            listener.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("work_crashed", exc_info=error)

    def _heard_cancel(self, operation_id: str) -> None:
        for run in (
            [self._runs[operation_id]] if operation_id in self._runs else self._runs.values()
        ):
            run.look()

    async def _drain(self) -> None:
        if not self._tasks:
            return
        await asyncio.wait(self._tasks, timeout=self._settings.shutdown_grace)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=5)

    async def _handle(self, message: Message, pull: Pull) -> None:
        try:
            await self._take(message)
        finally:
            await pull.release()

    async def _take(self, message: Message) -> None:
        structlog.contextvars.clear_contextvars()
        logs.bind(service=self._service)
        try:
            command = read_command(message.body)
        except UnreadableMessage as error:
            await self._bury(message, str(error))
            return
        logs.bind(
            store_id=command.store_id,
            operation_id=command.operation_id,
            request_id=command.request_id,
        )
        try:
            claimed = await self._ledger.claim(
                command.operation_id,
                store_id=command.store_id,
                owner=self._name,
                lease=self._lease,
                plans=self._plans,
            )
        except DatabaseAway:
            await message.later(1)
            return
        await message.done()
        if claimed is None:
            log.debug("nothing_to_do")
            return
        await self._work(command, *claimed)

    async def _bury(self, message: Message, reason: str) -> None:
        """An unreadable message: kept as a dead letter, then gone from the queue."""
        log.error("message_unreadable", subject=message.subject, reason=reason)
        try:
            async with self._database.transaction() as conn:
                await dead_letters.add(
                    conn,
                    reason="unreadable",
                    detail=reason,
                    subject=message.subject,
                    payload=message.body,
                )
        except DatabaseAway:
            await message.later(1)
            return
        metrics.DEAD_LETTERS.labels("unreadable").inc()
        await message.never()

    async def _work(self, command: Command, store: Store, operation: Operation) -> None:
        log.debug(
            "operation_claimed",
            kind=operation.kind,
            attempt=operation.attempt,
            fence=operation.fence,
        )
        if operation.fence == 1:
            metrics.COMMAND_AGE.labels(self._service).observe(
                (now() - operation.created_at).total_seconds()
            )
        elif operation.taken_over:
            metrics.TAKEOVERS.labels(operation.kind).inc()
        run = Run(
            store=store,
            operation=operation,
            plan=self._plans[operation.kind],
            ledger=self._ledger,
            settings=self._settings,
            request_id=command.request_id,
        )
        self._runs[operation.id] = run
        try:
            await run.to_its_end()
        finally:
            self._runs.pop(operation.id, None)
            self._ledger.forget(operation)
