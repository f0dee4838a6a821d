"""Compute the store and the operation after a transition of the lifecycle.

Pure functions: `core/lifecycle.py` decides which transition follows, this module sets the fields
that belong to it, and the recorder writes the result.
"""

from collections.abc import Mapping
from typing import NamedTuple

from storefleet.core.lifecycle import (
    Activity,
    Occurrence,
    OperationState,
    StoreEvent,
    check_operation_transition,
    find_transition,
)
from storefleet.core.models import Failure, Operation, Store, utc_now
from storefleet.core.operation_inputs import VersionInput


class StateChange(NamedTuple):
    """A store and its operation after a transition, and the type of the event that reports it."""

    store: Store
    operation: Operation
    event: StoreEvent


def apply_claim(store: Store, operation: Operation) -> StateChange:
    """Apply a claim: a worker starts or continues the operation.

    Args:
        store: The store as it was read.
        operation: The operation as it was read, with the steps that the worker runs.

    Returns:
        The running operation, and the store in the state that belongs to the activity. A store
        that an earlier claim has changed stays as it is.

    Raises:
        IllegalTransition: The operation cannot be claimed in this state of the store.
    """
    transition = find_transition(store.state, operation.activity, Occurrence.CLAIMED)
    check_operation_transition(operation.state, OperationState.RUNNING)
    if transition.changes_state:
        store = store.copy_with(state=transition.target, failure=None)
    claimed = {
        "state": OperationState.RUNNING,
        "started_at": operation.started_at or utc_now(),
        "taken_over": operation.state == OperationState.RUNNING,
    }
    return StateChange(store, operation.model_copy(update=claimed), transition.event)


def apply_progress(
    store: Store, operation: Operation, address: Mapping[str, str] | None = None
) -> StateChange:
    """Apply a change of a step, which leaves the store's state as it is.

    Args:
        store: The store as it was read.
        operation: The operation with its changed steps.
        address: Columns of the store's address, when the step's result has one.

    Raises:
        IllegalTransition: No step of this operation can run in this state of the store.
    """
    transition = find_transition(store.state, operation.activity, Occurrence.STEP_RECORDED)
    return StateChange(store.copy_with(**(address or {})), operation, transition.event)


def apply_success(
    store: Store, operation: Operation, address: Mapping[str, str], *, warning: str = ""
) -> StateChange:
    """Apply the success of the last step, which ends the operation.

    No operation has to be dispatched afterwards: while an operation runs, only a deletion is
    accepted, and the deletion cancels the running operation, which then does not succeed.

    Args:
        store: The store as it was read.
        operation: The operation with its last step closed.
        address: Columns of the store's address, when the step's result has one.
        warning: What failed although the store serves, as a sentence.

    Raises:
        IllegalTransition: The operation cannot succeed in this state of the store.
    """
    transition = find_transition(store.state, operation.activity, Occurrence.SUCCEEDED)
    columns: dict[str, object] = {"state": transition.target, "failure": None}
    if operation.activity != Activity.DELETE:
        columns |= address
    ended: dict[str, object] = {"state": transition.final_operation_state, "finished_at": utc_now()}
    check_operation_transition(operation.state, transition.final_operation_state or operation.state)
    match operation.activity:
        case Activity.CREATE:
            columns["ready_at"] = utc_now()
        case Activity.DELETE:
            columns["deleted_at"] = utc_now()
        case Activity.UPGRADE | Activity.ROLLBACK:
            columns["engine_version"] = operation.versions.to_version
        case Activity.AUTOMATIC_ROLLBACK:
            ended["error"] = _add_rollback_result(operation, store.engine_version, warning)
    return StateChange(
        store.copy_with(**columns), operation.model_copy(update=ended), transition.event
    )


def _add_rollback_result(operation: Operation, engine_version: str, warning: str) -> Failure | None:
    """Add to the error that caused an automatic rollback that the rollback has succeeded."""
    cause = operation.error
    if cause is None:
        return None
    sentence = cause.detail if cause.detail.endswith((".", "!", "?")) else f"{cause.detail}."
    detail = f"{sentence} The store is back on {engine_version}. {warning}".rstrip()
    return cause.model_copy(update={"detail": detail})


def make_cancellation_failure(activity: Activity) -> Failure:
    """Make the failure of an operation that a person cancelled.

    Args:
        activity: What the operation was doing.

    Returns:
        The failure. It is shown by an upgrade, and by a store whose creation was cancelled; for
        other activities it is not shown.
    """
    if activity == Activity.UPGRADE:
        return Failure(
            code="cancelled",
            detail="The upgrade was cancelled before it was complete.",
            next="Nothing has to be done. The store can be upgraded again at any time.",
        )
    return Failure(
        code="cancelled",
        detail="The creation was cancelled before it was complete.",
        next="Retry to continue the creation, or delete the store.",
    )


def describe_failed_rollback(operation: Operation, failure: Failure) -> Failure:
    """Combine the failure of an automatic rollback with the failure that started it.

    Args:
        operation: The operation that fails.
        failure: The failure of its running step.

    Returns:
        Both failures as one, with the code `rollback_failed`; the failure as it is when the
        operation is not an automatic rollback.
    """
    cause = operation.error
    if cause is None or not isinstance(operation.input, VersionInput):
        return failure
    return Failure(
        code="rollback_failed",
        detail=f"{cause.detail} ({cause.code})"
        f" The automatic rollback failed, too: {failure.detail} ({failure.code})",
        step=failure.step,
        next=f"{failure.next} Then retry: the store is rolled back to"
        f" {operation.input.from_version}.",
    )
