"""One run of an operation: its steps, one after another, under the lease, with every outcome written down."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta

from storefleet.core.errors import (
    CancelRequested,
    DatabaseUnavailable,
    DependencyUnavailable,
    LeaseLost,
    NothingChanged,
    PermanentError,
    TransientError,
    Wait,
)
from storefleet.core.models import FINAL_OPERATION_STATES, Failure, Operation, Store, utc_now
from storefleet.core.settings import Settings
from storefleet.observability import logs, metrics
from storefleet.operations.progress import make_cancellation_failure
from storefleet.operations.recorder import OperationRecorder
from storefleet.operations.step_plans import StepPlan
from storefleet.runtimes.protocol import RuntimeStep, StepContext, StepResult, VersionChange

log = logs.get_logger(__name__)


class OperationRun:
    """One claim of one operation, from its first unfinished step to its end or back into the queue.

    An upgrade that fails or is taken back does not end with that: it goes on with the steps of its way back.
    """

    def __init__(
        self,
        *,
        store: Store,
        operation: Operation,
        step_plan: StepPlan,
        recorder: OperationRecorder,
        settings: Settings,
        request_id: str | None,
    ) -> None:
        self._store = store
        self._operation = operation
        self._step_plan = step_plan
        self._recorder = recorder
        self._settings = settings
        self._lease_held_until = time.monotonic() + settings.lease
        self._renewal_due = asyncio.Event()
        self._context = StepContext(
            store=store,
            operation_id=operation.id,
            request_id=request_id,
            change=VersionChange.of(operation)
            if operation.kind in ("upgrade", "rollback")
            else None,
            check_ownership=self._check_ownership,
            report_progress=self._report_progress,
        )

    def wake_heartbeat(self) -> None:
        """Somebody may have asked for a cancel: look at the row now."""
        self._renewal_due.set()

    async def execute(self) -> None:
        """Every outcome is written down, or left to whoever takes the expired lease."""
        try:
            turned = True
            while turned:
                cause = self._operation.error
                await self._run_until_stopped()
                turned = self._operation.state == "running" and self._operation.error is not cause
        except LeaseLost:
            log.warning("lease_lost")

    async def _run_until_stopped(self) -> None:
        """Until the steps have ended, or a cancel has ended them."""
        steps_task = asyncio.create_task(self._run_steps())
        heartbeat = asyncio.create_task(self._keep_lease(steps_task))
        try:
            await steps_task
        except asyncio.CancelledError:
            if steps_task.cancelled() and not _is_being_cancelled():
                await self._handle_stopped_steps(heartbeat)
            else:
                steps_task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await steps_task
                await self._write_with_retry(
                    lambda: self._recorder.requeue(self._operation, delay_s=0, dispatch=True)
                )
                log.info("operation_handed_back")
                raise
        finally:
            heartbeat.cancel()

    async def _handle_stopped_steps(self, heartbeat: asyncio.Task[None]) -> None:
        """The heartbeat stopped the steps: because of a cancel, or because the lease is gone."""
        try:
            await heartbeat
        except CancelRequested:
            await self._record_cancellation()

    async def _record_cancellation(self) -> None:
        back = self._list_rollback_steps(make_cancellation_failure("upgrade"))
        await self._write_with_retry(
            lambda: self._recorder.record_cancellation(self._operation, rollback_steps=back)
        )
        log.info(
            "operation_turned_back" if self._operation.state == "running" else "operation_cancelled"
        )

    def _list_rollback_steps(self, failure: Failure) -> Sequence[RuntimeStep]:
        """The steps that an upgrade would have to go on with because of the failure."""
        if self._operation.kind != "upgrade" or self._operation.error is not None:
            return ()
        return self._step_plan(self._store, self._operation.model_copy(update={"error": failure}))

    async def _run_steps(self) -> None:
        try:
            runtime_steps = {
                step.name: step for step in self._step_plan(self._store, self._operation)
            }
            for position, step in enumerate(self._operation.steps):
                if step.state not in FINAL_OPERATION_STATES:
                    await self._run_step(position, runtime_steps[step.name])
        except CancelRequested:
            await self._record_cancellation()
        except Wait as error:
            await self._schedule_wait(error.reason, error.delay)
        except DependencyUnavailable as error:
            await self._schedule_wait(error.detail, random.uniform(1, 3))  # noqa: S311  jitter, not a secret
        except PermanentError as error:
            unchanged = isinstance(error, NothingChanged)
            await self._record_failure(
                error.code, error.detail, error.next_step, store_unchanged=unchanged
            )
        except TransientError as error:
            await self._schedule_retry(error.code, error.detail, error.next_step)
        except (LeaseLost, asyncio.CancelledError):
            raise
        except Exception as error:
            log.exception("step_crashed")
            await self._schedule_retry(
                "internal_error",
                f"{type(error).__name__} in the step",
                "Look at the log of this operation.",
            )

    async def _run_step(self, position: int, step: RuntimeStep) -> None:
        started = time.monotonic()
        if self._operation.steps[position].state != "running":
            await self._write_with_retry(
                lambda: self._recorder.record_step_start(self._operation, position)
            )
        logs.bind_log_context(step=step.name)
        outcome_label = "failed"
        try:
            outcome = await step.run(self._context)
            outcome_label = "succeeded"
        except (Wait, DependencyUnavailable):
            outcome_label = "waiting"
            raise
        finally:
            elapsed = time.monotonic() - started
            metrics.STEP_DURATION.labels(self._operation.kind, step.name, outcome_label).observe(
                elapsed
            )
            log.info("step_ended", outcome=outcome_label, seconds=round(elapsed, 3))
        await self._record_step_result(position, outcome)

    async def _record_step_result(self, position: int, result: StepResult) -> None:
        last = position == len(self._operation.steps) - 1
        await self._write_with_retry(
            lambda: self._recorder.record_step_result(
                self._operation, position, result, is_last=last
            )
        )
        if last:
            self._count_end(self._operation.state)

    def _count_end(self, outcome: str) -> None:
        metrics.OPERATIONS_ENDED.labels(self._operation.kind, outcome).inc()
        seconds = (utc_now() - self._operation.created_at).total_seconds()
        metrics.OPERATION_DURATION.labels(self._operation.kind).observe(seconds)
        log.info(
            "operation_ended", kind=self._operation.kind, outcome=outcome, seconds=round(seconds, 3)
        )

    def _make_failure(self, code: str, detail: str, next_step: str) -> Failure:
        current = next((s.name for s in self._operation.steps if s.state == "running"), None)
        return Failure(code=code, detail=detail, step=current, next=next_step)

    async def _record_failure(
        self,
        code: str,
        detail: str,
        next_step: str,
        *,
        deadline_reached: bool = False,
        store_unchanged: bool = False,
    ) -> None:
        """For good: the operation ends with its reason, or an upgrade goes on with its way back."""
        failure = self._make_failure(code, detail, next_step)
        back = self._list_rollback_steps(failure)
        store_unchanged = (
            store_unchanged
            and self._operation.kind in ("upgrade", "rollback")
            and self._operation.error is None
        )
        await self._write_with_retry(
            lambda: self._recorder.record_failure(
                self._operation,
                failure,
                dead_letter=deadline_reached,
                store_unchanged=store_unchanged,
                rollback_steps=back,
            )
        )
        if self._operation.state == "running":
            log.warning("operation_turned_back", code=code, detail=detail)
        else:
            self._count_end("failed")

    async def _schedule_retry(self, code: str, detail: str, next_step: str) -> None:
        """A transient failure: again after a pause that grows, until the deadline."""
        delays = self._settings.retry_delays
        delay = delays[min(self._operation.attempt, len(delays)) - 1] * random.uniform(0.8, 1.2)  # noqa: S311
        if utc_now() + timedelta(seconds=delay) > self._operation.deadline:
            await self._record_failure(code, detail, next_step, deadline_reached=True)
            return
        metrics.RETRIES.labels(self._operation.kind).inc()
        message = f"{detail} Trying again in {delay:.0f} s."
        log.warning("operation_retries", code=code, detail=detail, delay=round(delay, 1))
        await self._write_with_retry(
            lambda: self._recorder.requeue(
                self._operation, delay_s=delay, message=message, failed_attempt=True
            )
        )

    async def _schedule_wait(self, reason: str, delay_s: float) -> None:
        log.info("operation_waits", reason=reason, delay=round(delay_s, 1))
        await self._write_with_retry(
            lambda: self._recorder.requeue(self._operation, delay_s=delay_s, message=reason)
        )

    async def _check_ownership(self) -> None:
        """Ask, right before an effect on the world, whether the operation is still ours, and wanted."""
        await self._write_with_retry(self._renew_lease)

    async def _report_progress(self, message: str) -> None:
        position = next(
            (n for n, s in enumerate(self._operation.steps) if s.state == "running"), None
        )
        if position is not None and self._operation.steps[position].message != message:
            await self._write_with_retry(
                lambda: self._recorder.record_message(self._operation, position, message)
            )

    async def _renew_lease(self) -> Operation:
        before = time.monotonic()
        cancel = await self._recorder.renew_lease(
            self._operation, timedelta(seconds=self._settings.lease)
        )
        self._lease_held_until = before + self._settings.lease
        if cancel:
            raise CancelRequested
        return self._operation

    async def _write_with_retry(self, write: Callable[[], Awaitable[Operation]]) -> None:
        """Write, waiting for a database that is away for as long as the lease can still be ours."""
        while True:
            try:
                self._operation = await write()
            except DatabaseUnavailable:
                if time.monotonic() > self._lease_held_until:
                    raise LeaseLost(self._operation.id) from None
                await asyncio.sleep(0.3)
            else:
                return

    async def _keep_lease(self, steps_task: asyncio.Task[None]) -> None:
        """Renew the lease; when it is lost, or a cancel was requested, stop the steps."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.lease / 4):
                    await self._renewal_due.wait()
            self._renewal_due.clear()
            try:
                await self._renew_lease()
            except DatabaseUnavailable:
                if time.monotonic() > self._lease_held_until:
                    steps_task.cancel()
                    raise LeaseLost(self._operation.id) from None
            except (LeaseLost, CancelRequested):
                steps_task.cancel()
                raise


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
