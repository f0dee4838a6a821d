"""Receive commands and run their operations, several at once, until the service shuts down.

The provisioner and the reaper run this worker with different consumers and step plans. A command
is acknowledged after the claim, not after the work: from then on the operation's row names its
owner, and if that worker dies, the lease expires and the reaper redispatches the operation.
"""

import asyncio
import os
import secrets
import socket
from datetime import timedelta

import structlog

from storefleet.core.errors import DatabaseUnavailable
from storefleet.core.messages import COMMAND_STREAM, Command, UnreadableMessage, decode_command
from storefleet.core.models import Operation, Store, utc_now
from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.database.repositories.operations import CANCEL_CHANNEL
from storefleet.database.repositories.outbox import OUTBOX_CHANNEL
from storefleet.messaging import MessageBus, PullConsumer, ReceivedMessage
from storefleet.observability import logs, metrics
from storefleet.operations.interruptions import InterruptionRecorder
from storefleet.operations.recorder import OperationRecorder
from storefleet.operations.run import OperationRun
from storefleet.operations.step_plans import StepPlans
from storefleet.operations.written_stores import WrittenStores

log = logs.get_logger(__name__)

_REDELIVERY_DELAY_S = 1
_HAND_OVER_TIMEOUT_S = 5  # for returning unfinished operations to the queue at shutdown


class Worker:
    """Runs up to `settings.workers` operations at once."""

    def __init__(
        self,
        *,
        service: str,
        step_plans: StepPlans,
        database: Database,
        bus: MessageBus,
        settings: Settings,
    ) -> None:
        """Create a worker; `run` starts it.

        Args:
            service: The name of the service and of its consumer.
            step_plans: The step plans of the kinds of operation that it runs.
            database: The database of the platform.
            bus: Where the commands come from.
            settings: Concurrency, lease duration and grace period.
        """
        self._service = service
        self._step_plans = step_plans
        self._database = database
        self._bus = bus
        self._settings = settings
        self._written_stores = WrittenStores()
        self._recorder = OperationRecorder(database=database, written_stores=self._written_stores)
        self._interruptions = InterruptionRecorder(
            database=database, written_stores=self._written_stores
        )
        self._lease_owner = f"{service}@{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._lease_duration = timedelta(seconds=settings.lease)
        self._tasks: set[asyncio.Task[None]] = set()
        self._runs: dict[str, OperationRun] = {}

    async def run(self) -> None:
        """Run the operations of incoming commands until cancelled, then drain.

        Running operations may finish within the grace period; the others are handed over.
        """
        # Commits wake the relay, which runs in a gateway, over NATS; without NATS by NOTIFY.
        self._database.set_local_wake(OUTBOX_CHANNEL, self._bus.wake_relay)
        consumer = await self._bus.open_consumer(
            COMMAND_STREAM, self._service, capacity=self._settings.workers
        )
        listener = asyncio.create_task(
            self._database.listen(CANCEL_CHANNEL, self._wake_runs), name="cancellation listener"
        )
        try:
            while True:
                message = await consumer.next_message()
                task = asyncio.create_task(
                    self._handle_message(message, consumer), name=f"run of {message.subject}"
                )
                self._tasks.add(task)
                task.add_done_callback(self._discard_task)
        finally:
            await consumer.stop()
            await self._drain_runs()
            listener.cancel()

    def _discard_task(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("operation_run_crashed", exc_info=error)

    def _wake_runs(self, operation_id: str) -> None:
        """Wake the heartbeat of a run, because its cancellation was requested.

        An id without a run wakes every run. The listener passes an empty id after a reconnect,
        because notifications may have been missed.
        """
        cancelled_run = self._runs.get(operation_id)
        woken = list(self._runs.values()) if cancelled_run is None else [cancelled_run]
        for run in woken:
            run.wake_heartbeat()

    async def _drain_runs(self) -> None:
        if not self._tasks:
            return
        await asyncio.wait(self._tasks, timeout=self._settings.shutdown_grace)
        unfinished = list(self._tasks)
        for task in unfinished:
            task.cancel()
        if unfinished:
            await asyncio.wait(unfinished, timeout=_HAND_OVER_TIMEOUT_S)

    async def _handle_message(self, message: ReceivedMessage, consumer: PullConsumer) -> None:
        try:
            await self._process_message(message)
        finally:
            await consumer.release_slot()

    async def _process_message(self, message: ReceivedMessage) -> None:
        """Claim the operation of a command, acknowledge the message and run the operation."""
        structlog.contextvars.clear_contextvars()
        logs.bind_log_context(service=self._service)
        try:
            command = decode_command(message.body)
        except UnreadableMessage as error:
            await self._store_dead_letter(message, str(error))
            return
        logs.bind_log_context(
            store_id=command.store_id,
            operation_id=command.operation_id,
            request_id=command.request_id,
        )
        try:
            claimed = await self._recorder.claim(
                command.operation_id,
                store_id=command.store_id,
                owner=self._lease_owner,
                lease_duration=self._lease_duration,
                step_plans=self._step_plans,
            )
        except DatabaseUnavailable:
            await message.retry_later(_REDELIVERY_DELAY_S)
            return
        await message.acknowledge()
        if claimed is None:
            log.debug("command_ignored")
            return
        await self._run_operation(command, *claimed)

    async def _store_dead_letter(self, message: ReceivedMessage, reason: str) -> None:
        """Keep an unreadable message as a dead letter and remove it from the stream."""
        log.error("message_dead_lettered", subject=message.subject, reason=reason)
        try:
            async with self._database.transaction() as tx:
                await tx.dead_letters.add(
                    reason="unreadable",
                    detail=reason,
                    subject=message.subject,
                    payload=message.body,
                )
        except DatabaseUnavailable:
            await message.retry_later(_REDELIVERY_DELAY_S)
            return
        metrics.DEAD_LETTERS.labels("unreadable").inc()
        await message.terminate()

    async def _run_operation(self, command: Command, store: Store, operation: Operation) -> None:
        log.debug(
            "operation_claimed",
            kind=operation.kind,
            attempt=operation.attempt,
            fence=operation.fence,
        )
        if operation.fence == 1:
            metrics.COMMAND_AGE.labels(self._service).observe(
                (utc_now() - operation.created_at).total_seconds()
            )
        elif operation.taken_over:
            metrics.TAKEOVERS.labels(operation.kind).inc()
        run = OperationRun(
            store=store,
            operation=operation,
            step_plan=self._step_plans[operation.kind],
            recorder=self._recorder,
            interruptions=self._interruptions,
            settings=self._settings,
            request_id=command.request_id,
        )
        self._runs[operation.id] = run
        try:
            await run.execute()
        finally:
            self._runs.pop(operation.id, None)
            self._written_stores.discard(operation.id)
