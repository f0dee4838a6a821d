"""Works on operations: claim a row, run its steps under the lease, write every transition with its event.

The provisioner and the reaper are this worker with different consumers and steps.
"""

import asyncio
import os
import random
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta

import structlog

from storefleet import logs, metrics
from storefleet.bus import Bus, Message, Pull
from storefleet.database import dead_letters, operations, outbox
from storefleet.database.pool import Database
from storefleet.errors import (
    CancelRequested,
    DatabaseAway,
    LeaseLost,
    PermanentError,
    TransientError,
    Unavailable,
    Wait,
)
from storefleet.ledger import Ledger
from storefleet.messages import COMMANDS, Command, UnreadableMessage, read_command
from storefleet.models import Failure, Operation, Store, now
from storefleet.runtimes.base import Outcome, RuntimeStep, Work
from storefleet.settings import Settings

log = logs.get(__name__)

Plan = Callable[[Store], Sequence[RuntimeStep]]


class Worker:
    """Up to `settings.workers` operations at once."""

    def __init__(
        self, *, service: str, plans: Mapping[str, Plan], database: Database, bus: Bus, settings: Settings
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
        listener = asyncio.create_task(self._database.listen(operations.CANCEL_CHANNEL, self._heard_cancel))
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
        for run in [self._runs[operation_id]] if operation_id in self._runs else self._runs.values():
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
        logs.bind(store_id=command.store_id, operation_id=command.operation_id, request_id=command.request_id)
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
                    conn, reason="unreadable", detail=reason, subject=message.subject, payload=message.body
                )
        except DatabaseAway:
            await message.later(1)
            return
        metrics.DEAD_LETTERS.labels("unreadable").inc()
        await message.never()

    async def _work(self, command: Command, store: Store, operation: Operation) -> None:
        log.debug("operation_claimed", kind=operation.kind, attempt=operation.attempt, fence=operation.fence)
        if operation.fence == 1:
            metrics.COMMAND_AGE.labels(self._service).observe((now() - operation.created_at).total_seconds())
        elif operation.taken_over:
            metrics.TAKEOVERS.labels(operation.kind).inc()
        run = Run(
            store=store,
            operation=operation,
            steps=self._plans[operation.kind](store),
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


class Run:
    """One claim of one operation, from its first unfinished step to its end or back into the queue."""

    def __init__(
        self,
        *,
        store: Store,
        operation: Operation,
        steps: Sequence[RuntimeStep],
        ledger: Ledger,
        settings: Settings,
        request_id: str | None,
    ) -> None:
        self._store = store
        self._operation = operation
        self._steps = steps
        self._ledger = ledger
        self._settings = settings
        self._held_until = time.monotonic() + settings.lease
        self._look = asyncio.Event()
        self._work = Work(
            store=store, operation_id=operation.id, request_id=request_id, check=self._check, say=self._say
        )

    def look(self) -> None:
        """Somebody may have asked for a cancel: look at the row now."""
        self._look.set()

    async def to_its_end(self) -> None:
        """Every outcome is written down, or left to whoever takes the expired lease."""
        main = asyncio.create_task(self._run_steps())
        heart = asyncio.create_task(self._beat(main))
        try:
            await main
        except asyncio.CancelledError:
            if main.cancelled() and not _being_cancelled():
                await self._lost_or_cancelled(heart)
            else:
                main.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await main
                await self._record(lambda: self._ledger.give_back(self._operation, delay=0, announce=True))
                log.info("operation_handed_back")
                raise
        except LeaseLost:
            log.warning("lease_lost")
        finally:
            heart.cancel()

    async def _lost_or_cancelled(self, heart: asyncio.Task[None]) -> None:
        """The heartbeat stopped the steps: because of a cancel, or because the lease is gone."""
        try:
            await heart
        except CancelRequested:
            with suppress(LeaseLost):
                await self._record(lambda: self._ledger.cancelled(self._operation))
            log.info("operation_cancelled")
        except LeaseLost:
            log.warning("lease_lost")

    async def _run_steps(self) -> None:
        try:
            for position, step in enumerate(self._steps):
                if self._operation.steps[position].state == "succeeded":
                    continue
                await self._run_step(position, step)
        except CancelRequested:
            await self._record(lambda: self._ledger.cancelled(self._operation))
            log.info("operation_cancelled")
        except Wait as error:
            await self._wait(error.reason, error.delay)
        except Unavailable as error:
            await self._wait(error.detail, random.uniform(1, 3))  # noqa: S311  jitter, not a secret
        except PermanentError as error:
            await self._fail(error.code, error.detail, error.next_step)
        except TransientError as error:
            await self._again(error.code, error.detail, error.next_step)
        except (LeaseLost, asyncio.CancelledError):
            raise
        except Exception as error:
            log.exception("step_crashed")
            await self._again(
                "internal_error", f"{type(error).__name__} in the step", "Look at the log of this operation."
            )

    async def _run_step(self, position: int, step: RuntimeStep) -> None:
        started = time.monotonic()
        if self._operation.steps[position].state != "running":
            await self._record(lambda: self._ledger.step_started(self._operation, position))
        logs.bind(step=step.name)
        outcome_label = "failed"
        try:
            outcome = await step.run(self._work)
            outcome_label = "succeeded"
        except (Wait, Unavailable):
            outcome_label = "waiting"
            raise
        finally:
            elapsed = time.monotonic() - started
            metrics.STEP_SECONDS.labels(self._operation.kind, step.name, outcome_label).observe(elapsed)
            log.info("step_ended", outcome=outcome_label, seconds=round(elapsed, 3))
        await self._step_done(position, outcome)

    async def _step_done(self, position: int, outcome: Outcome) -> None:
        last = position == len(self._steps) - 1
        await self._record(lambda: self._ledger.step_done(self._operation, position, outcome, last=last))
        if last:
            self._count("succeeded")

    def _count(self, outcome: str) -> None:
        metrics.OPERATIONS.labels(self._operation.kind, outcome).inc()
        seconds = (now() - self._operation.created_at).total_seconds()
        metrics.OPERATION_SECONDS.labels(self._operation.kind).observe(seconds)
        log.info("operation_ended", kind=self._operation.kind, outcome=outcome, seconds=round(seconds, 3))

    def _failure(self, code: str, detail: str, next_step: str) -> Failure:
        current = next((s.name for s in self._operation.steps if s.state == "running"), None)
        return Failure(code=code, detail=detail, step=current, next=next_step)

    async def _fail(self, code: str, detail: str, next_step: str, *, exhausted: bool = False) -> None:
        failure = self._failure(code, detail, next_step)
        await self._record(lambda: self._ledger.failed(self._operation, failure, dead_letter=exhausted))
        self._count("failed")

    async def _again(self, code: str, detail: str, next_step: str) -> None:
        """A transient failure: again after a pause that grows, until the deadline."""
        delays = self._settings.retry_delays
        delay = delays[min(self._operation.attempt, len(delays)) - 1] * random.uniform(0.8, 1.2)  # noqa: S311
        if now() + timedelta(seconds=delay) > self._operation.deadline:
            await self._fail(code, detail, next_step, exhausted=True)
            return
        metrics.RETRIES.labels(self._operation.kind).inc()
        message = f"{detail} Trying again in {delay:.0f} s."
        log.warning("operation_retries", code=code, detail=detail, delay=round(delay, 1))
        await self._record(
            lambda: self._ledger.give_back(self._operation, delay=delay, message=message, failed_attempt=True)
        )

    async def _wait(self, reason: str, delay: float) -> None:
        log.info("operation_waits", reason=reason, delay=round(delay, 1))
        await self._record(lambda: self._ledger.give_back(self._operation, delay=delay, message=reason))

    async def _check(self) -> None:
        """Ask, right before an effect on the world, whether the operation is still ours, and wanted."""
        await self._record(self._renew)

    async def _say(self, message: str) -> None:
        position = next((n for n, s in enumerate(self._operation.steps) if s.state == "running"), None)
        if position is not None and self._operation.steps[position].message != message:
            await self._record(lambda: self._ledger.say(self._operation, position, message))

    async def _renew(self) -> Operation:
        before = time.monotonic()
        cancel = await self._ledger.renew(self._operation, timedelta(seconds=self._settings.lease))
        self._held_until = before + self._settings.lease
        if cancel:
            raise CancelRequested
        return self._operation

    async def _record(self, write: Callable[[], Awaitable[Operation]]) -> None:
        """Write, waiting for a database that is away for as long as the lease can still be ours."""
        while True:
            try:
                self._operation = await write()
            except DatabaseAway:
                if time.monotonic() > self._held_until:
                    raise LeaseLost(self._operation.id) from None
                await asyncio.sleep(0.3)
            else:
                return

    async def _beat(self, main: asyncio.Task[None]) -> None:
        """Renew the lease; when it is lost, or a cancel was requested, stop the steps."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.lease / 4):
                    await self._look.wait()
            self._look.clear()
            try:
                await self._renew()
            except DatabaseAway:
                if time.monotonic() > self._held_until:
                    main.cancel()
                    raise LeaseLost(self._operation.id) from None
            except (LeaseLost, CancelRequested):
                main.cancel()
                raise


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
