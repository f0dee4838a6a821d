"""How an operation, its steps and its store move on: pure functions, which the ledger writes down."""

from collections.abc import Mapping, Sequence

from storefleet.core.models import FINAL_OPERATION_STATES, Failure, Operation, Step, Store, utc_now
from storefleet.runtimes.protocol import RuntimeStep

#: A store and its operation as they become, and the event that tells it.
Transition = tuple[Store, Operation, str]
#: What a store is while an operation of that kind is at work, and told to be when it begins; else it stays as it was.
_RUNNING_STATES = {
    "create": ("provisioning", "store.provisioning"),
    "upgrade": ("upgrading", "store.upgrading"),
    "rollback": ("rolling_back", "store.rolling_back"),
}


def make_cancellation_failure(kind: str = "create") -> Failure:
    """What is told of an operation that a person took back."""
    if kind == "upgrade":
        return Failure(
            code="cancelled",
            detail="The upgrade was cancelled before it was complete.",
            next="Nothing has to be done; upgrade again whenever you like.",
        )
    return Failure(
        code="cancelled",
        detail="The creation was cancelled before it was complete.",
        next="Retry to go on from there, or delete the store.",
    )


def can_roll_back_automatically(store: Store, operation: Operation) -> bool:
    """Whether it is an upgrade that has begun, and whose store is worth going back for."""
    return operation.kind == "upgrade" and operation.error is None and store.state == "upgrading"


def complete_operation(
    store: Store, operation: Operation, address: Mapping[str, str]
) -> Transition:
    """The end of an operation; none of the same store waits, since whoever makes one asks a running one to cancel."""
    operation = operation.model_copy(update={"state": "succeeded", "finished_at": utc_now()})
    if operation.kind == "create":
        return (
            store.copy_with(state="ready", ready_at=utc_now(), failure=None, **address),
            operation,
            "store.ready",
        )
    if operation.kind == "delete":
        return (
            store.copy_with(state="deleted", deleted_at=utc_now(), failure=None),
            operation,
            "store.deleted",
        )
    if operation.error:
        cause = operation.error.detail
        ended = cause if cause.endswith((".", "!", "?")) else f"{cause}."
        detail = f"{ended} The store is back on {store.engine_version}."
        error = operation.error.model_copy(update={"detail": detail})
        operation = operation.model_copy(update={"state": "failed", "error": error})
        return (
            store.copy_with(state="ready", failure=None, **address),
            operation,
            "store.rolled_back",
        )
    store = store.copy_with(
        state="ready", failure=None, engine_version=operation.input["to"], **address
    )
    return (
        store,
        operation,
        "store.upgraded" if operation.kind == "upgrade" else "store.rolled_back",
    )


def begin_operation(store: Store, operation: Operation) -> tuple[Store, str]:
    """The store as somebody works on it, and the event that tells it."""
    state, event = _RUNNING_STATES.get(
        "rollback" if operation.error else operation.kind, (store.state, "")
    )
    return (
        (store, "store.step")
        if state == store.state
        else (store.copy_with(state=state, failure=None), event)
    )


def describe_failed_rollback(operation: Operation, failure: Failure) -> Failure:
    """Of an upgrade's way back that failed, too: both."""
    cause = operation.error
    if cause is None:
        return failure
    return Failure(
        code="rollback_failed",
        detail=f"{cause.detail} ({cause.code}) The way back failed, too: {failure.detail} ({failure.code})",
        step=failure.step,
        next=f"{failure.next} Then retry: it goes back to {operation.input['from']}.",
    )


def merge_step_plan(operation: Operation, step_plan: Sequence[RuntimeStep]) -> tuple[Step, ...]:
    """The plan's steps, with the state that earlier runs have left; on a way back after those that led there."""
    known = {step.name: step for step in operation.steps}
    names = {step.name for step in step_plan}
    there = [step for step in operation.steps if operation.error and step.name not in names]
    return (
        *there,
        *(known.get(step.name) or Step(name=step.name, title=step.title) for step in step_plan),
    )


def switch_steps_to_rollback(
    steps: Sequence[Step], failure: Failure, rollback_steps: Sequence[RuntimeStep]
) -> tuple[Step, ...]:
    """The steps that led there, closed, and those that lead back."""
    stopped = "cancelled" if failure.code == "cancelled" else "failed"
    ends = {"running": (stopped, failure.detail), "pending": ("cancelled", "Not begun")}
    there = [
        step.model_copy(
            update={
                "state": ends[step.state][0],
                "finished_at": utc_now(),
                "message": ends[step.state][1],
            }
        )
        if step.state in ends
        else step
        for step in steps
    ]
    return start_next_step(
        (*there, *(Step(name=step.name, title=step.title) for step in rollback_steps))
    )


def start_next_step(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Mark the first unfinished step as running."""
    changed = list(steps)
    for position, step in enumerate(changed):
        if step.state not in FINAL_OPERATION_STATES:
            changed[position] = step.model_copy(
                update={
                    "state": "running",
                    "started_at": step.started_at or utc_now(),
                    "finished_at": None,
                }
            )
            break
    return tuple(changed)


def update_step(operation: Operation, position: int, **fields: object) -> Operation:
    steps = list(operation.steps)
    steps[position] = steps[position].model_copy(update=fields)
    return operation.model_copy(update={"steps": tuple(steps)})


def close_running_step(operation: Operation, state: str, message: str) -> Operation:
    steps = tuple(
        step.model_copy(update={"state": state, "finished_at": utc_now(), "message": message})
        if step.state == "running"
        else step
        for step in operation.steps
    )
    return operation.model_copy(update={"steps": steps})
