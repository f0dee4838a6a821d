"""Compute the steps of an operation: merge a step plan, start a step, close a step.

Pure functions; the recorders write what they return.
"""

from collections.abc import Sequence

from storefleet.core.lifecycle import StepState
from storefleet.core.models import Failure, Operation, Step, utc_now
from storefleet.runtimes.protocol import RuntimeStep


def merge_step_plan(operation: Operation, step_plan: Sequence[RuntimeStep]) -> tuple[Step, ...]:
    """Merge a step plan with the steps that earlier claims of the operation have recorded.

    During an automatic rollback, the steps of the failed upgrade are kept before those of the plan.

    Args:
        operation: The operation with its recorded steps.
        step_plan: The steps that the runtime defines for it now.

    Returns:
        The steps of the plan with their recorded states. A recorded step that is no longer in the
        plan is dropped.
    """
    recorded = {step.name: step for step in operation.steps}
    planned = {step.name for step in step_plan}
    upgrade_steps = [
        step for step in operation.steps if operation.is_rolling_back and step.name not in planned
    ]
    return (
        *upgrade_steps,
        *(recorded.get(step.name) or Step(name=step.name, title=step.title) for step in step_plan),
    )


def switch_steps_to_rollback(
    steps: Sequence[Step], failure: Failure, rollback_steps: Sequence[RuntimeStep]
) -> tuple[Step, ...]:
    """Close the steps of a failed or cancelled upgrade and append those of its automatic rollback.

    Args:
        steps: The recorded steps of the upgrade.
        failure: Why the upgrade stops; its code decides whether the running step was cancelled.
        rollback_steps: The steps of the automatic rollback; empty when a later claim adds them.

    Returns:
        All steps, the first one of the rollback running.
    """
    stopped = StepState.CANCELLED if failure.code == "cancelled" else StepState.FAILED
    result_by_state = {
        StepState.RUNNING: (stopped, failure.detail),
        StepState.PENDING: (StepState.CANCELLED, "Not started"),
    }
    closed_steps = [
        _close_step(step, *result_by_state[step.state]) if step.state in result_by_state else step
        for step in steps
    ]
    return start_next_step(
        (*closed_steps, *(Step(name=step.name, title=step.title) for step in rollback_steps))
    )


def start_next_step(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Mark the first unfinished step as running; it keeps the time of its first start."""
    changed = list(steps)
    for position, step in enumerate(changed):
        if not step.state.is_final:
            changed[position] = step.model_copy(
                update={
                    "state": StepState.RUNNING,
                    "started_at": step.started_at or utc_now(),
                    "finished_at": None,
                }
            )
            break
    return tuple(changed)


def find_running_step(operation: Operation) -> int | None:
    """Find the position of the running step, counted from 0; None when no step runs."""
    return next(
        (
            position
            for position, step in enumerate(operation.steps)
            if step.state == StepState.RUNNING
        ),
        None,
    )


def update_step(operation: Operation, position: int, **fields: object) -> Operation:
    """Copy the operation with new values of one step's fields.

    Args:
        operation: The operation to copy.
        position: The step's position, counted from 0.
        **fields: Fields of `Step`.

    Returns:
        The copy.
    """
    steps = list(operation.steps)
    steps[position] = steps[position].model_copy(update=fields)
    return operation.model_copy(update={"steps": tuple(steps)})


def close_running_step(operation: Operation, state: StepState, message: str) -> Operation:
    """Copy the operation with its running step closed.

    Args:
        operation: The operation to copy.
        state: The final state of the step.
        message: The step's status message.

    Returns:
        The copy; an equal one when no step runs.
    """
    steps = [
        _close_step(step, state, message) if step.state == StepState.RUNNING else step
        for step in operation.steps
    ]
    return operation.model_copy(update={"steps": tuple(steps)})


def _close_step(step: Step, state: StepState, message: str) -> Step:
    return step.model_copy(update={"state": state, "finished_at": utc_now(), "message": message})
