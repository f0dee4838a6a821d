"""The state machine of stores and operations: which state follows which, and with what event.

`TRANSITIONS` is the only place that decides a transition. Admission, the recorder and the
termination look it up and write what it says; the database guards it with conditions of its own.
Pure: no I/O, no clock, no rows. `docs/architecture.md` shows the table as a generated diagram.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

from storefleet.core.errors import StorefleetError


class StoreState(StrEnum):
    """The state of a store."""

    REQUESTED = "requested"
    PROVISIONING = "provisioning"
    READY = "ready"
    UPGRADING = "upgrading"
    ROLLING_BACK = "rolling_back"
    FAILED = "failed"
    DELETING = "deleting"
    DELETED = "deleted"


class OperationKind(StrEnum):
    """What an operation does to its store."""

    CREATE = "create"
    UPGRADE = "upgrade"
    ROLLBACK = "rollback"
    DELETE = "delete"


class OperationState(StrEnum):
    """The state of an operation; `queued` includes waits and the pauses between attempts."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the operation has ended."""
        return self not in (OperationState.QUEUED, OperationState.RUNNING)


class StepState(StrEnum):
    """The state of a step of an operation."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the step has ended; a later claim does not run it again."""
        return self not in (StepState.PENDING, StepState.RUNNING)


class StoreEvent(StrEnum):
    """The type of an event: a past-tense fact about a store."""

    REQUESTED = "store.requested"
    PROVISIONING = "store.provisioning"
    READY = "store.ready"
    UPGRADING = "store.upgrading"
    UPGRADED = "store.upgraded"
    ROLLING_BACK = "store.rolling_back"
    ROLLED_BACK = "store.rolled_back"
    FAILED = "store.failed"
    DELETING = "store.deleting"
    DELETED = "store.deleted"
    STEP = "store.step"
    #: No transition: what was observed of a ready store has changed.
    OBSERVED = "store.observed"


class Activity(StrEnum):
    """What an operation is doing: that of its kind, or the automatic rollback of an upgrade."""

    CREATE = "create"
    UPGRADE = "upgrade"
    AUTOMATIC_ROLLBACK = "automatic rollback"
    ROLLBACK = "rollback"
    DELETE = "delete"


class Occurrence(StrEnum):
    """What happens to an activity. Activity and occurrence together trigger a transition."""

    REQUESTED = "requested"
    RETRIED = "retried"
    CLAIMED = "claimed"
    STEP_RECORDED = "step recorded"
    SUCCEEDED = "succeeded"
    #: The operation ended before it changed anything, or has undone what it changed.
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Transition(NamedTuple):
    """A row of the table: in state `source`, the trigger leads to `target` and emits `event`.

    Attributes:
        source: The store's state before; None before there is a store.
        activity: What the operation is doing when it happens.
        occurrence: What happens to that activity.
        target: The store's state after.
        event: The type of the event that reports it.
        ends: The operation's final state; None while the operation stays open.
    """

    source: StoreState | None
    activity: Activity
    occurrence: Occurrence
    target: StoreState
    event: StoreEvent
    final_operation_state: OperationState | None = None

    @property
    def starts_automatic_rollback(self) -> bool:
        """Whether an upgrade stays open and continues with its automatic rollback."""
        return self.activity is Activity.UPGRADE and self.target is StoreState.ROLLING_BACK

    @property
    def changes_state(self) -> bool:
        """Whether the store's state after differs from the one before."""
        return self.source is not self.target


class IllegalTransition(StorefleetError):
    """The tables do not have this transition: a defect, or a row that was changed by hand."""

    def __init__(
        self, subject: str, *, source: str | None, target: str, trigger: str, legal: list[str]
    ) -> None:
        """Describe the rejected change and the states in which it is allowed.

        Args:
            subject: What would change: a store or an operation.
            source: Its state now; None when it does not exist yet.
            target: The state that the trigger leads to.
            trigger: What happened to it.
            legal: The states in which the trigger is possible.
        """
        super().__init__(
            f"{subject} cannot change from `{source or 'nothing'}` to `{target}`."
            f" “{trigger}” is possible only in: {', '.join(legal) or 'no state'}."
            " Compare its row with its events."
        )
        self.source = source
        self.target = target


_S, _E, _O = StoreState, StoreEvent, OperationState
_Row = tuple[StoreState | None, Occurrence, StoreState, StoreEvent, OperationState | None]

_ROWS: Mapping[Activity, tuple[_Row, ...]] = {
    Activity.CREATE: (
        (None, Occurrence.REQUESTED, _S.REQUESTED, _E.REQUESTED, None),
        (_S.FAILED, Occurrence.RETRIED, _S.REQUESTED, _E.REQUESTED, None),
        (_S.REQUESTED, Occurrence.CLAIMED, _S.PROVISIONING, _E.PROVISIONING, None),
        (_S.PROVISIONING, Occurrence.CLAIMED, _S.PROVISIONING, _E.STEP, None),
        (_S.PROVISIONING, Occurrence.STEP_RECORDED, _S.PROVISIONING, _E.STEP, None),
        (_S.PROVISIONING, Occurrence.SUCCEEDED, _S.READY, _E.READY, _O.SUCCEEDED),
        (_S.PROVISIONING, Occurrence.FAILED, _S.FAILED, _E.FAILED, _O.FAILED),
        (_S.PROVISIONING, Occurrence.CANCELLED, _S.FAILED, _E.FAILED, _O.CANCELLED),
        (_S.REQUESTED, Occurrence.CANCELLED, _S.FAILED, _E.FAILED, _O.CANCELLED),
    ),
    Activity.UPGRADE: (
        (_S.READY, Occurrence.REQUESTED, _S.READY, _E.STEP, None),
        (_S.READY, Occurrence.CLAIMED, _S.UPGRADING, _E.UPGRADING, None),
        (_S.UPGRADING, Occurrence.CLAIMED, _S.UPGRADING, _E.STEP, None),
        (_S.UPGRADING, Occurrence.STEP_RECORDED, _S.UPGRADING, _E.STEP, None),
        (_S.UPGRADING, Occurrence.SUCCEEDED, _S.READY, _E.UPGRADED, _O.SUCCEEDED),
        (_S.UPGRADING, Occurrence.REJECTED, _S.READY, _E.READY, _O.FAILED),
        # Only these two start an automatic rollback.
        (_S.UPGRADING, Occurrence.FAILED, _S.ROLLING_BACK, _E.ROLLING_BACK, None),
        (_S.UPGRADING, Occurrence.CANCELLED, _S.ROLLING_BACK, _E.ROLLING_BACK, None),
        (_S.READY, Occurrence.CANCELLED, _S.READY, _E.READY, _O.CANCELLED),
    ),
    Activity.AUTOMATIC_ROLLBACK: (
        (_S.UPGRADING, Occurrence.CLAIMED, _S.ROLLING_BACK, _E.ROLLING_BACK, None),
        (_S.ROLLING_BACK, Occurrence.CLAIMED, _S.ROLLING_BACK, _E.STEP, None),
        (_S.ROLLING_BACK, Occurrence.STEP_RECORDED, _S.ROLLING_BACK, _E.STEP, None),
        (_S.ROLLING_BACK, Occurrence.SUCCEEDED, _S.READY, _E.ROLLED_BACK, _O.FAILED),
        (_S.ROLLING_BACK, Occurrence.FAILED, _S.FAILED, _E.FAILED, _O.FAILED),
    ),
    Activity.ROLLBACK: (
        (_S.READY, Occurrence.REQUESTED, _S.READY, _E.STEP, None),
        (_S.FAILED, Occurrence.RETRIED, _S.ROLLING_BACK, _E.ROLLING_BACK, None),
        (_S.READY, Occurrence.CLAIMED, _S.ROLLING_BACK, _E.ROLLING_BACK, None),
        (_S.ROLLING_BACK, Occurrence.CLAIMED, _S.ROLLING_BACK, _E.STEP, None),
        (_S.ROLLING_BACK, Occurrence.STEP_RECORDED, _S.ROLLING_BACK, _E.STEP, None),
        (_S.ROLLING_BACK, Occurrence.SUCCEEDED, _S.READY, _E.ROLLED_BACK, _O.SUCCEEDED),
        (_S.ROLLING_BACK, Occurrence.REJECTED, _S.READY, _E.READY, _O.FAILED),
        (_S.ROLLING_BACK, Occurrence.FAILED, _S.FAILED, _E.FAILED, _O.FAILED),
        (_S.READY, Occurrence.CANCELLED, _S.READY, _E.READY, _O.CANCELLED),
    ),
    Activity.DELETE: (
        (_S.REQUESTED, Occurrence.REQUESTED, _S.DELETING, _E.DELETING, None),
        (_S.PROVISIONING, Occurrence.REQUESTED, _S.DELETING, _E.DELETING, None),
        (_S.READY, Occurrence.REQUESTED, _S.DELETING, _E.DELETING, None),
        (_S.UPGRADING, Occurrence.REQUESTED, _S.DELETING, _E.DELETING, None),
        (_S.ROLLING_BACK, Occurrence.REQUESTED, _S.DELETING, _E.DELETING, None),
        (_S.FAILED, Occurrence.REQUESTED, _S.DELETING, _E.DELETING, None),
        (_S.DELETING, Occurrence.REQUESTED, _S.DELETING, _E.DELETING, None),
        (_S.FAILED, Occurrence.RETRIED, _S.DELETING, _E.DELETING, None),
        (_S.DELETING, Occurrence.CLAIMED, _S.DELETING, _E.STEP, None),
        (_S.DELETING, Occurrence.STEP_RECORDED, _S.DELETING, _E.STEP, None),
        (_S.DELETING, Occurrence.SUCCEEDED, _S.DELETED, _E.DELETED, _O.SUCCEEDED),
        (_S.DELETING, Occurrence.FAILED, _S.FAILED, _E.FAILED, _O.FAILED),
    ),
}
#: How an operation continues or ends once the deletion of its store is accepted: the store's
#: state does not change any more, and an upgrade does not roll back.
_SUPERSEDED: Mapping[Occurrence, OperationState | None] = {
    Occurrence.STEP_RECORDED: None,
    Occurrence.REJECTED: _O.FAILED,
    Occurrence.FAILED: _O.FAILED,
    Occurrence.CANCELLED: _O.CANCELLED,
}

#: Activities whose steps may raise `NothingChanged` before any effect.
_REJECTABLE = (Activity.UPGRADE, Activity.ROLLBACK)


def _build_table() -> Iterator[Transition]:
    """Yield the rows above, then those of operations that a deletion supersedes."""
    for activity, rows in _ROWS.items():
        for source, occurrence, target, event, ends in rows:
            yield Transition(source, activity, occurrence, target, event, ends)
        if activity is Activity.DELETE:
            continue
        for occurrence, ends in _SUPERSEDED.items():
            if occurrence is not Occurrence.REJECTED or activity in _REJECTABLE:
                yield Transition(_S.DELETING, activity, occurrence, _S.DELETING, _E.STEP, ends)


TRANSITIONS: tuple[Transition, ...] = tuple(_build_table())
_BY_TRIGGER = {(row.source, row.activity, row.occurrence): row for row in TRANSITIONS}

#: The allowed next states of an operation, by its current state. From running to running is a
#: takeover; from queued to queued, the switch of an upgrade to its automatic rollback.
OPERATION_TRANSITIONS: Mapping[OperationState, frozenset[OperationState]] = {
    _O.QUEUED: frozenset({_O.QUEUED, _O.RUNNING, _O.CANCELLED}),
    _O.RUNNING: frozenset(_O),
    _O.SUCCEEDED: frozenset(),
    _O.FAILED: frozenset(),
    _O.CANCELLED: frozenset(),
}

#: The kind of operation that retries a failed one. A failed upgrade is retried as a rollback:
#: its store fails only if the automatic rollback fails, too.
RETRY_KINDS: Mapping[OperationKind, OperationKind] = {
    OperationKind.CREATE: OperationKind.CREATE,
    OperationKind.UPGRADE: OperationKind.ROLLBACK,
    OperationKind.ROLLBACK: OperationKind.ROLLBACK,
    OperationKind.DELETE: OperationKind.DELETE,
}


class CancelObstacle(StrEnum):
    """Why an open operation cannot be cancelled by a person."""

    DELETION = "deletion"
    AUTOMATIC_ROLLBACK = "automatic rollback"
    ROLLBACK_STARTED = "rollback started"


def find_transition(
    source: StoreState | None, activity: Activity, occurrence: Occurrence
) -> Transition:
    """Find the transition that a trigger causes in a state of a store.

    Args:
        source: The store's state now; None before there is a store.
        activity: What the operation is doing.
        occurrence: What happens to that activity.

    Returns:
        The row of `TRANSITIONS`.

    Raises:
        IllegalTransition: The table has no such row.
    """
    found = _BY_TRIGGER.get((source, activity, occurrence))
    if found is None:
        rows = [
            row for row in TRANSITIONS if (row.activity, row.occurrence) == (activity, occurrence)
        ]
        raise IllegalTransition(
            "A store",
            source=source,
            target=rows[0].target if rows else "no state",
            trigger=f"{activity} {occurrence}",
            legal=[row.source or "nothing" for row in rows],
        )
    return found


def check_operation_transition(before: OperationState, after: OperationState) -> None:
    """Check that an operation may change from one state to another.

    Args:
        before: The operation's state now.
        after: The requested state.

    Raises:
        IllegalTransition: `OPERATION_TRANSITIONS` does not allow the change.
    """
    if after not in OPERATION_TRANSITIONS[before]:
        raise IllegalTransition(
            "An operation",
            source=before,
            target=after,
            trigger=after,
            legal=[
                state for state, following in OPERATION_TRANSITIONS.items() if after in following
            ],
        )


def choose_activity(kind: OperationKind, *, is_rolling_back: bool) -> Activity:
    """Choose the activity of an open operation.

    Args:
        kind: The operation's kind.
        is_rolling_back: Whether it is an upgrade that has switched to its automatic rollback.

    Returns:
        The activity of the kind, or the automatic rollback.
    """
    return Activity.AUTOMATIC_ROLLBACK if is_rolling_back else Activity(kind)


def choose_failure(activity: Activity, *, nothing_changed: bool) -> Occurrence:
    """Choose between a failure and a rejection, which leaves the store as it was.

    Args:
        activity: What the operation was doing.
        nothing_changed: Whether its step stopped before any effect (`NothingChanged`).

    Returns:
        `REJECTED` for an upgrade or a rollback that changed nothing, else `FAILED`.
    """
    rejected = nothing_changed and activity in _REJECTABLE
    return Occurrence.REJECTED if rejected else Occurrence.FAILED


def find_cancel_obstacle(activity: Activity, store_state: StoreState) -> CancelObstacle | None:
    """Find the reason why a person cannot cancel an open operation.

    An upgrade is cancellable until it rolls back. A rollback is cancellable only while it is
    queued: once it has begun, stopping it would leave parts of two versions.

    Args:
        activity: What the operation is doing.
        store_state: The state of its store.

    Returns:
        The obstacle; None when the operation is cancellable.
    """
    match activity:
        case Activity.DELETE:
            return CancelObstacle.DELETION
        case Activity.AUTOMATIC_ROLLBACK:
            return CancelObstacle.AUTOMATIC_ROLLBACK
        case Activity.ROLLBACK if store_state != StoreState.READY:
            return CancelObstacle.ROLLBACK_STARTED
        case _:
            return None
