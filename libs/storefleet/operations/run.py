"""One run of an operation: its steps, one after another, under the lease, with every outcome written down."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta

from storefleet.core.errors import (
    CancelRequested,
    DatabaseAway,
    LeaseLost,
    PermanentError,
    TransientError,
    Unavailable,
    Unchanged,
    Wait,
)
from storefleet.core.models import ENDED, Failure, Operation, Store, now
from storefleet.core.settings import Settings
from storefleet.observability import logs, metrics
from storefleet.operations.progress import cancelled_failure
from storefleet.operations.recorder import Ledger
from storefleet.operations.step_plans import Plan
from storefleet.runtimes.protocol import Change, Outcome, RuntimeStep, Work

log = logs.get(__name__)


class Run:
    """One claim of one operation, from its first unfinished step to its end or back into the queue.

    An upgrade that fails or is taken back does not end with that: it goes on with the steps of its way back.
    """

    def __init__(
        self,
        *,
        store: Store,
        operation: Operation,
        plan: Plan,
        ledger: Ledger,
        settings: Settings,
        request_id: str | None,
    ) -> None:
        self._store = store
        self._operation = operation
        self._plan = plan
        self._ledger = ledger
        self._settings = settings
        self._held_until = time.monotonic() + settings.lease
        self._look = asyncio.Event()
        self._work = Work(
            store=store,
            operation_id=operation.id,
            request_id=request_id,
            change=Change.of(operation) if operation.kind in ("upgrade", "rollback") else None,
            check=self._check,
            say=self._say,
        )

    def look(self) -> None:
        """Somebody may have asked for a cancel: look at the row now."""
        self._look.set()

    async def to_its_end(self) -> None:
        """Every outcome is written down, or left to whoever takes the expired lease."""
        try:
            turned = True
            while turned:
                cause = self._operation.error
                await self._until_stopped()
                turned = self._operation.state == "running" and self._operation.error is not cause
        except LeaseLost:
            log.warning("lease_lost")

    async def _until_stopped(self) -> None:
        """Until the steps have ended, or a cancel has ended them."""
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
                await self._record(
                    lambda: self._ledger.give_back(self._operation, delay=0, announce=True)
                )
                log.info("operation_handed_back")
                raise
        finally:
            heart.cancel()

    async def _lost_or_cancelled(self, heart: asyncio.Task[None]) -> None:
        """The heartbeat stopped the steps: because of a cancel, or because the lease is gone."""
        try:
            await heart
        except CancelRequested:
            await self._cancel()

    async def _cancel(self) -> None:
        back = self._way_back(cancelled_failure("upgrade"))
        await self._record(lambda: self._ledger.cancelled(self._operation, back=back))
        log.info(
            "operation_turned_back" if self._operation.state == "running" else "operation_cancelled"
        )

    def _way_back(self, failure: Failure) -> Sequence[RuntimeStep]:
        """The steps that an upgrade would have to go on with because of the failure."""
        if self._operation.kind != "upgrade" or self._operation.error is not None:
            return ()
        return self._plan(self._store, self._operation.model_copy(update={"error": failure}))

    async def _run_steps(self) -> None:
        try:
            runtime_steps = {step.name: step for step in self._plan(self._store, self._operation)}
            for position, step in enumerate(self._operation.steps):
                if step.state not in ENDED:
                    await self._run_step(position, runtime_steps[step.name])
        except CancelRequested:
            await self._cancel()
        except Wait as error:
            await self._wait(error.reason, error.delay)
        except Unavailable as error:
            await self._wait(error.detail, random.uniform(1, 3))  # noqa: S311  jitter, not a secret
        except PermanentError as error:
            unchanged = isinstance(error, Unchanged)
            await self._fail(error.code, error.detail, error.next_step, unchanged=unchanged)
        except TransientError as error:
            await self._again(error.code, error.detail, error.next_step)
        except (LeaseLost, asyncio.CancelledError):
            raise
        except Exception as error:
            log.exception("step_crashed")
            await self._again(
                "internal_error",
                f"{type(error).__name__} in the step",
                "Look at the log of this operation.",
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
            metrics.STEP_SECONDS.labels(self._operation.kind, step.name, outcome_label).observe(
                elapsed
            )
            log.info("step_ended", outcome=outcome_label, seconds=round(elapsed, 3))
        await self._step_done(position, outcome)

    async def _step_done(self, position: int, outcome: Outcome) -> None:
        last = position == len(self._operation.steps) - 1
        await self._record(
            lambda: self._ledger.step_done(self._operation, position, outcome, last=last)
        )
        if last:
            self._count(self._operation.state)

    def _count(self, outcome: str) -> None:
        metrics.OPERATIONS.labels(self._operation.kind, outcome).inc()
        seconds = (now() - self._operation.created_at).total_seconds()
        metrics.OPERATION_SECONDS.labels(self._operation.kind).observe(seconds)
        log.info(
            "operation_ended", kind=self._operation.kind, outcome=outcome, seconds=round(seconds, 3)
        )

    def _failure(self, code: str, detail: str, next_step: str) -> Failure:
        current = next((s.name for s in self._operation.steps if s.state == "running"), None)
        return Failure(code=code, detail=detail, step=current, next=next_step)

    async def _fail(
        self,
        code: str,
        detail: str,
        next_step: str,
        *,
        exhausted: bool = False,
        unchanged: bool = False,
    ) -> None:
        """For good: the operation ends with its reason, or an upgrade goes on with its way back."""
        failure = self._failure(code, detail, next_step)
        back = self._way_back(failure)
        unchanged = (
            unchanged
            and self._operation.kind in ("upgrade", "rollback")
            and self._operation.error is None
        )
        await self._record(
            lambda: self._ledger.failed(
                self._operation, failure, dead_letter=exhausted, unchanged=unchanged, back=back
            )
        )
        if self._operation.state == "running":
            log.warning("operation_turned_back", code=code, detail=detail)
        else:
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
            lambda: self._ledger.give_back(
                self._operation, delay=delay, message=message, failed_attempt=True
            )
        )

    async def _wait(self, reason: str, delay: float) -> None:
        log.info("operation_waits", reason=reason, delay=round(delay, 1))
        await self._record(
            lambda: self._ledger.give_back(self._operation, delay=delay, message=reason)
        )

    async def _check(self) -> None:
        """Ask, right before an effect on the world, whether the operation is still ours, and wanted."""
        await self._record(self._renew)

    async def _say(self, message: str) -> None:
        position = next(
            (n for n, s in enumerate(self._operation.steps) if s.state == "running"), None
        )
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
