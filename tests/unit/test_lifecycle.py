"""The transition table: complete for every sequence of events, closed to all others."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storefleet.core.lifecycle import (
    OPERATION_TRANSITIONS,
    RETRY_KINDS,
    TRANSITIONS,
    Activity,
    CancelObstacle,
    IllegalTransition,
    Occurrence,
    OperationKind,
    OperationState,
    StoreEvent,
    StoreState,
    Transition,
    check_operation_transition,
    choose_activity,
    choose_failure,
    find_cancel_obstacle,
    find_transition,
)
from tools import lifecycle_diagram

QUICK = settings(max_examples=300, deadline=None, database=None)
KEYS = {(row.source, row.activity, row.occurrence) for row in TRANSITIONS}


@dataclass
class OpenOperation:
    """An operation that has not ended; `claimed` once a worker has claimed it."""

    activity: Activity
    claimed: bool = False
    cancel_requested: bool = False


@dataclass
class Walk:
    """A store, its open operations, and the events that admission and worker allow."""

    state: StoreState | None = None
    operations: list[OpenOperation] = field(default_factory=list)

    def moves(self) -> list[tuple[Activity, Occurrence]]:
        """List the possible next events."""
        if self.state is None:
            return [(Activity.CREATE, Occurrence.REQUESTED)]
        found: list[tuple[Activity, Occurrence]] = []
        deleting = any(each.activity is Activity.DELETE for each in self.operations)
        if self.state is not StoreState.DELETED and not deleting:
            found.append((Activity.DELETE, Occurrence.REQUESTED))
        if not self.operations and self.state is StoreState.READY:
            found += [(Activity.UPGRADE, Occurrence.REQUESTED)]
            found += [(Activity.ROLLBACK, Occurrence.REQUESTED)]
        if not self.operations and self.state is StoreState.FAILED:
            found += [(Activity(kind), Occurrence.RETRIED) for kind in RETRY_KINDS.values()]
        if self.operations:
            found += self._moves_of(self.operations[0])
        return found

    def _moves_of(self, first: OpenOperation) -> list[tuple[Activity, Occurrence]]:
        assert self.state is not None
        found = []
        if not first.cancel_requested:
            found.append(Occurrence.CLAIMED)
        if first.cancel_requested or find_cancel_obstacle(first.activity, self.state) is None:
            found.append(Occurrence.CANCELLED)
        if first.claimed:
            found += [Occurrence.STEP_RECORDED, Occurrence.FAILED]
            found.append(choose_failure(first.activity, nothing_changed=True))
            if not first.cancel_requested:
                found.append(Occurrence.SUCCEEDED)
        return [(first.activity, occurrence) for occurrence in found]

    def apply(self, activity: Activity, occurrence: Occurrence) -> Transition:
        """Apply the transition and update the open operations."""
        transition = find_transition(self.state, activity, occurrence)
        self.state = transition.target
        if occurrence in (Occurrence.REQUESTED, Occurrence.RETRIED):
            if activity is Activity.DELETE:
                self.operations = [each for each in self.operations if each.claimed]
                for each in self.operations:
                    each.cancel_requested = True
            self.operations.append(OpenOperation(activity))
        elif transition.final_operation_state is not None:
            self.operations.pop(0)
        elif transition.starts_automatic_rollback:
            self.operations[0].activity = Activity.AUTOMATIC_ROLLBACK
        elif occurrence is Occurrence.CLAIMED:
            self.operations[0].claimed = True
        return transition


@QUICK
@given(st.data())
def test_event_sequences_follow_transitions(data: st.DataObject) -> None:
    walk = Walk()
    for _ in range(data.draw(st.integers(1, 40))):
        moves = walk.moves()
        if not moves:
            break
        walk.apply(*data.draw(st.sampled_from(moves)))
        if not walk.operations:
            assert walk.state in (StoreState.READY, StoreState.FAILED, StoreState.DELETED)
        if walk.state is StoreState.DELETING:
            assert walk.operations[-1].activity is Activity.DELETE
        if walk.state is StoreState.ROLLING_BACK:
            assert "rollback" in walk.operations[0].activity


def test_states_are_reachable_and_only_deleted_is_final() -> None:
    assert {row.target for row in TRANSITIONS} == set(StoreState)
    left = {row.source for row in TRANSITIONS if row.source is not row.target}
    assert left == {None, *StoreState} - {StoreState.DELETED}
    assert len(KEYS) == len(TRANSITIONS), "one transition a trigger"
    assert {row.event for row in TRANSITIONS} == set(StoreEvent) - {StoreEvent.OBSERVED}


@given(
    st.one_of(st.none(), st.sampled_from(StoreState)),
    st.sampled_from(Activity),
    st.sampled_from(Occurrence),
)
def test_illegal_transition_names_both_states(
    source: StoreState | None, activity: Activity, occurrence: Occurrence
) -> None:
    if (source, activity, occurrence) in KEYS:
        found = find_transition(source, activity, occurrence)
        assert (found.source, found.activity, found.occurrence) == (source, activity, occurrence)
        return
    with pytest.raises(IllegalTransition) as caught:
        find_transition(source, activity, occurrence)
    assert f"from `{source or 'nothing'}` to `{caught.value.target}`" in str(caught.value)
    assert f"“{activity} {occurrence}”" in str(caught.value)


@pytest.mark.parametrize("before", OperationState)
@pytest.mark.parametrize("after", OperationState)
def test_ended_operation_is_final(before: OperationState, after: OperationState) -> None:
    if after in OPERATION_TRANSITIONS[before]:
        assert not before.is_final
        check_operation_transition(before, after)
        return
    with pytest.raises(IllegalTransition, match=f"from `{before}` to `{after}`"):
        check_operation_transition(before, after)


def test_transition_determines_event_type() -> None:
    for row in TRANSITIONS:
        if row.event is StoreEvent.STEP:
            assert not row.changes_state
        if row.changes_state and row.final_operation_state is None:
            assert row.event == f"store.{row.target}"
        assert (row.event is StoreEvent.FAILED) == (row.target is StoreState.FAILED)


def test_upgrade_rolls_back_only_once_started_without_delete() -> None:
    assert {
        (row.source, row.occurrence) for row in TRANSITIONS if row.starts_automatic_rollback
    } == {
        (StoreState.UPGRADING, Occurrence.FAILED),
        (StoreState.UPGRADING, Occurrence.CANCELLED),
    }
    for row in TRANSITIONS:
        if row.starts_automatic_rollback:
            assert (row.final_operation_state, row.event) == (None, StoreEvent.ROLLING_BACK)


def test_only_version_changes_are_rejected_without_effect() -> None:
    rejected = {
        activity
        for activity in Activity
        if choose_failure(activity, nothing_changed=True) is Occurrence.REJECTED
    }
    assert rejected == {Activity.UPGRADE, Activity.ROLLBACK}
    assert choose_failure(Activity.UPGRADE, nothing_changed=False) is Occurrence.FAILED


@pytest.mark.parametrize(
    ("activity", "state", "obstacle"),
    [
        (Activity.CREATE, StoreState.PROVISIONING, None),
        (Activity.CREATE, StoreState.DELETING, None),
        (Activity.UPGRADE, StoreState.UPGRADING, None),
        (Activity.AUTOMATIC_ROLLBACK, StoreState.ROLLING_BACK, CancelObstacle.AUTOMATIC_ROLLBACK),
        (Activity.ROLLBACK, StoreState.READY, None),
        (Activity.ROLLBACK, StoreState.ROLLING_BACK, CancelObstacle.ROLLBACK_STARTED),
        (Activity.ROLLBACK, StoreState.DELETING, CancelObstacle.ROLLBACK_STARTED),
        (Activity.DELETE, StoreState.DELETING, CancelObstacle.DELETION),
    ],
)
def test_cancellable_states(
    activity: Activity, state: StoreState, obstacle: CancelObstacle | None
) -> None:
    assert find_cancel_obstacle(activity, state) is obstacle


def test_failed_upgrade_is_retried_as_rollback() -> None:
    assert set(RETRY_KINDS) == set(OperationKind)
    assert RETRY_KINDS[OperationKind.UPGRADE] is OperationKind.ROLLBACK
    for kind in RETRY_KINDS.values():
        transition = find_transition(StoreState.FAILED, Activity(kind), Occurrence.RETRIED)
        assert transition.event == f"store.{transition.target}"


def test_only_upgrade_has_rollback_activity() -> None:
    for kind in OperationKind:
        assert choose_activity(kind, is_rolling_back=False) == kind
    rolling_back = choose_activity(OperationKind.UPGRADE, is_rolling_back=True)
    assert rolling_back is Activity.AUTOMATIC_ROLLBACK


def test_documented_diagram_matches_table() -> None:
    text = lifecycle_diagram.DOCUMENT.read_text(encoding="utf-8")
    assert lifecycle_diagram.insert_diagram(text) == text, "run `python -m tools.lifecycle_diagram`"


def test_diagram_contains_every_transition() -> None:
    lines = lifecycle_diagram.render_diagram().splitlines()
    for row in TRANSITIONS:
        if row.changes_state:
            arrow = f"{row.source or '[*]'} --> {row.target}: "
            (line,) = [line for line in lines if line.strip().startswith(arrow)]
            assert f"{row.activity} {row.occurrence}" in line
