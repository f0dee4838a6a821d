"""Run one claim of an operation: run its steps in order and record every outcome.

The run decides what an error of a step means: a wait, a retry, a failure or a cancellation. The
recorders write that, and the lease keeper renews the lease meanwhile. The worker starts the run.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from storefleet.core.errors import (
    CancelRequested,
    DependencyUnavailable,
    LeaseLost,
    NothingChanged,
    PermanentError,
    TransientError,
    Wait,
)
from storefleet.core.lifecycle import Activity, OperationState, StepState
from storefleet.core.models import Failure, Operation, Store, utc_now
from storefleet.core.operation_inputs import VersionInput
from storefleet.core.settings import Settings
from storefleet.observability import logs, metrics
from storefleet.operations.interruptions import InterruptionRecorder
from storefleet.operations.lease_keeper import LeaseKeeper
from storefleet.operations.recorder import OperationRecorder
from storefleet.operations.run_metrics import observe_operation_end, observe_step
from storefleet.operations.state_changes import make_cancellation_failure
from storefleet.operations.step_plans import StepPlan
from storefleet.operations.steps import find_running_step
from storefleet.runtimes.protocol import RuntimeStep, StepContext, StepResult, VersionChange
from storefleet.runtimes.storefront_observation import parse_baseline

log = logs.get_logger(__name__)


class OperationRun:
    """One claim of an operation: from its first unfinished step until it ends or is queued again.

    An upgrade that fails or is cancelled continues in the same run with its automatic rollback.
    """

    def __init__(
        self,
        *,
        store: Store,
        operation: Operation,
        step_plan: StepPlan,
        recorder: OperationRecorder,
        interruptions: InterruptionRecorder,
        settings: Settings,
        request_id: str | None,
    ) -> None:
        """Prepare the run; `execute` starts it.

        Args:
            store: The store as the claim wrote it.
            operation: The claimed operation.
            step_plan: The step plan of its kind.
            recorder: Writes the transitions of its steps.
            interruptions: Writes its failure, its cancellation, or its return to the queue.
            settings: Lease duration and pauses between attempts.
            request_id: The id of the HTTP request that created the operation.
        """
        self._store = store
        self._operation = operation
        self._step_plan = step_plan
        self._recorder = recorder
        self._interruptions = interruptions
        self._settings = settings
        self._lease = LeaseKeeper(
            operation=operation, recorder=recorder, lease_duration_s=settings.lease
        )
        changes_version = isinstance(operation.input, VersionInput)
        self._context = StepContext(
            store=store,
            operation_id=operation.id,
            request_id=request_id,
            change=VersionChange.from_operation(operation) if changes_version else None,
            baseline=parse_baseline(operation.baseline),
            check_ownership=self._check_ownership,
            report_progress=self._report_progress,
        )

    def wake_heartbeat(self) -> None:
        """Renew the lease now: a cancellation may have been requested."""
        self._lease.wake()

    async def execute(self) -> None:
        """Run the steps until the operation has ended or is queued again.

        Every outcome is recorded, except a lost lease: the next claim continues the operation.
        """
        try:
            while True:
                cause = self._operation.error
                await self._run_until_stopped()
                has_switched_to_rollback = self._operation.error is not cause
                if not (self._is_running() and has_switched_to_rollback):
                    return
        except LeaseLost:
            log.warning("lease_lost")

    async def _run_until_stopped(self) -> None:
        """Run the steps while the heartbeat renews the lease; it may stop them."""
        steps_task = asyncio.create_task(self._run_steps(), name=f"steps of {self._operation.id}")
        heartbeat = asyncio.create_task(
            self._lease.run_heartbeat(steps_task), name=f"heartbeat of {self._operation.id}"
        )
        try:
            await steps_task
        except asyncio.CancelledError:
            if _is_current_task_cancelled():  # the worker shuts down
                await self._hand_over(steps_task)
                raise
            await self._handle_stopped_steps(heartbeat)
        finally:
            heartbeat.cancel()

    async def _handle_stopped_steps(self, heartbeat: asyncio.Task[None]) -> None:
        """Record the cancellation for which the heartbeat stopped the steps.

        Raises:
            LeaseLost: The heartbeat stopped them because the lease is lost.
        """
        try:
            await heartbeat
        except CancelRequested:
            await self._record_cancellation()

    async def _hand_over(self, steps_task: asyncio.Task[None]) -> None:
        """Stop the steps and dispatch the operation to another worker."""
        steps_task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await steps_task
        await self._write(
            lambda: self._interruptions.requeue(self._operation, delay_s=0, dispatch=True)
        )
        log.info("operation_handed_over")

    async def _run_steps(self) -> None:
        try:
            await self._run_unfinished_steps()
        except CancelRequested:
            await self._record_cancellation()
        except Wait as error:
            await self._schedule_wait(error.reason, error.delay)
        except DependencyUnavailable as error:
            await self._schedule_wait(error.detail, _add_jitter(2, 0.5))
        except PermanentError as error:
            failure = self._make_failure(error.code, error.detail, error.next_step)
            await self._record_failure(failure, nothing_changed=isinstance(error, NothingChanged))
        except TransientError as error:
            failure = self._make_failure(error.code, error.detail, error.next_step)
            await self._retry_or_fail(failure)
        except LeaseLost:
            raise
        except Exception as error:
            log.exception("step_crashed")
            detail = f"{type(error).__name__} in the step"
            failure = self._make_failure(
                code="internal_error", detail=detail, next_step="Read the log of this operation."
            )
            await self._retry_or_fail(failure)

    def _make_failure(self, code: str, detail: str, next_step: str) -> Failure:
        position = find_running_step(self._operation)
        step = None if position is None else self._operation.steps[position].name
        return Failure(code=code, detail=detail, step=step, next=next_step)

    async def _run_unfinished_steps(self) -> None:
        planned = {step.name: step for step in self._step_plan(self._store, self._operation)}
        for position, step in enumerate(self._operation.steps):
            if not step.state.is_final:
                await self._run_step(position, planned[step.name])

    async def _run_step(self, position: int, step: RuntimeStep) -> None:
        started = time.monotonic()
        if self._operation.steps[position].state != StepState.RUNNING:
            await self._write(lambda: self._recorder.record_step_start(self._operation, position))
        logs.bind_log_context(step=step.name)
        outcome = "failed"
        try:
            result = await step.run(self._context)
            outcome = "succeeded"
        except (Wait, DependencyUnavailable):
            outcome = "waiting"
            raise
        finally:
            observe_step(self._operation, step.name, outcome, time.monotonic() - started)
        await self._record_step_result(position, result)

    async def _record_step_result(self, position: int, result: StepResult) -> None:
        is_last = position == len(self._operation.steps) - 1
        await self._write(
            lambda: self._recorder.record_step_result(
                self._operation, position, result, is_last=is_last
            )
        )
        if result.baseline is not None:
            self._context = replace(self._context, baseline=result.baseline)
        if is_last:
            observe_operation_end(self._operation, self._operation.state)

    async def _record_failure(
        self, failure: Failure, *, deadline_reached: bool = False, nothing_changed: bool = False
    ) -> None:
        """Record a failure: the operation ends, or the upgrade switches to automatic rollback."""
        rollback_steps = self._list_rollback_steps(failure)
        await self._write(
            lambda: self._interruptions.record_failure(
                self._operation,
                failure,
                dead_letter=deadline_reached,
                nothing_changed=nothing_changed,
                rollback_steps=rollback_steps,
            )
        )
        if self._is_running():
            log.warning("automatic_rollback_started", code=failure.code, detail=failure.detail)
        else:
            observe_operation_end(self._operation, OperationState.FAILED)

    async def _record_cancellation(self) -> None:
        """Record a cancellation: the operation ends, or the upgrade switches to its rollback."""
        # Used only if an upgrade switches to its rollback: for the steps and the log.
        failure = make_cancellation_failure(Activity.UPGRADE)
        rollback_steps = self._list_rollback_steps(failure)
        await self._write(
            lambda: self._interruptions.record_cancellation(
                self._operation, rollback_steps=rollback_steps
            )
        )
        if self._is_running():
            log.info("automatic_rollback_started", code=failure.code, detail=failure.detail)
        else:
            log.info("operation_cancelled")

    def _list_rollback_steps(self, failure: Failure) -> Sequence[RuntimeStep]:
        """List the steps of the automatic rollback that this failure of an upgrade would start."""
        if self._operation.activity != Activity.UPGRADE:
            return ()
        rolling_back = self._operation.model_copy(update={"error": failure})
        return self._step_plan(self._store, rolling_back)

    async def _retry_or_fail(self, failure: Failure) -> None:
        """Queue the next attempt after a growing pause; fail if the deadline comes first."""
        delays = self._settings.retry_delays
        delay_s = _add_jitter(delays[min(self._operation.attempt, len(delays)) - 1], 0.2)
        if utc_now() + timedelta(seconds=delay_s) > self._operation.deadline:
            await self._record_failure(failure, deadline_reached=True)
            return
        metrics.RETRIES.labels(self._operation.kind).inc()
        message = f"{failure.detail} Retrying in {delay_s:.0f} s."
        log.warning(
            "operation_retry_scheduled",
            code=failure.code,
            detail=failure.detail,
            delay=round(delay_s, 1),
        )
        await self._write(
            lambda: self._interruptions.requeue(
                self._operation, delay_s=delay_s, message=message, failed_attempt=True
            )
        )

    async def _schedule_wait(self, reason: str, delay_s: float) -> None:
        """Queue the operation for `delay_s` seconds; no attempt is consumed."""
        log.info("operation_wait_scheduled", reason=reason, delay=round(delay_s, 1))
        await self._write(
            lambda: self._interruptions.requeue(self._operation, delay_s=delay_s, message=reason)
        )

    async def _check_ownership(self) -> None:
        """Check, before an external effect, that this worker may still run the operation."""
        await self._lease.retry_while_held(self._lease.renew)

    async def _report_progress(self, message: str) -> None:
        """Record a status message of the running step, if it differs from the current one."""
        position = find_running_step(self._operation)
        if position is not None and self._operation.steps[position].message != message:
            await self._write(
                lambda: self._recorder.record_message(self._operation, position, message)
            )

    async def _write(self, write: Callable[[], Awaitable[Operation]]) -> None:
        self._operation = await self._lease.retry_while_held(write)

    def _is_running(self) -> bool:
        return self._operation.state == OperationState.RUNNING


def _add_jitter(seconds: float, share: float) -> float:
    """Vary a pause by up to `share` of it, so that operations do not retry simultaneously."""
    return seconds * random.uniform(1 - share, 1 + share)  # noqa: S311  jitter, not a secret


def _is_current_task_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
