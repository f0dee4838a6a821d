"""Steps and transitions applied to models, without a database."""

from datetime import UTC, datetime

import pytest

from storefleet.core.lifecycle import (
    Activity,
    IllegalTransition,
    OperationKind,
    OperationState,
    StepState,
    StoreState,
)
from storefleet.core.models import Failure, Operation, Step, Store
from storefleet.core.operation_inputs import UpgradeInput
from storefleet.operations.state_changes import (
    apply_claim,
    apply_progress,
    apply_success,
    describe_failed_rollback,
    make_cancellation_failure,
)
from storefleet.operations.steps import (
    close_running_step,
    merge_step_plan,
    start_next_step,
    switch_steps_to_rollback,
    update_step,
)
from storefleet.runtimes.protocol import RuntimeStep, StepContext, StepResult

THEN = datetime(2026, 1, 1, tzinfo=UTC)


async def run(work: StepContext) -> StepResult:
    del work
    return StepResult()


def plan(*names: str) -> list[RuntimeStep]:
    return [RuntimeStep(name, name.title(), run) for name in names]


def operation(*steps: Step) -> Operation:
    return Operation(
        id="op_aaaaaaaaaaaaaaaa",
        tenant_id="ten_aaaaaaaaaaaaaaaa",
        store_id="sto_aaaaaaaaaaaaaaaa",
        kind=OperationKind.CREATE,
        state=OperationState.RUNNING,
        error=None,
        attempt=1,
        cancel_requested=False,
        fence=1,
        request_id=None,
        deadline=THEN,
        run_after=THEN,
        created_at=THEN,
        started_at=THEN,
        finished_at=None,
        steps=steps,
    )


def test_plan_keeps_finished_steps() -> None:
    done = Step(
        name="a",
        title="A",
        state=StepState.SUCCEEDED,
        started_at=THEN,
        finished_at=THEN,
        message="done",
    )
    steps = merge_step_plan(operation(done), plan("a", "b", "c"))
    assert [step.name for step in steps] == ["a", "b", "c"]
    assert steps[0] == done
    assert [step.state for step in steps[1:]] == ["pending", "pending"]


def test_changed_plan_replaces_old_plan() -> None:
    done = Step(name="gone", title="Gone", state=StepState.SUCCEEDED)
    assert [step.name for step in merge_step_plan(operation(done), plan("a"))] == ["a"]


def test_first_unfinished_step_starts() -> None:
    steps = start_next_step(
        (
            Step(name="a", title="A", state=StepState.SUCCEEDED),
            Step(name="b", title="B"),
            Step(name="c", title="C"),
        )
    )
    assert [step.state for step in steps] == ["succeeded", "running", "pending"]
    assert steps[1].started_at is not None


def test_running_step_keeps_start_time() -> None:
    begun = Step(name="a", title="A", state=StepState.RUNNING, started_at=THEN, message="half way")
    assert start_next_step((begun,)) == (begun,)


def test_finished_plan_starts_no_step() -> None:
    steps = (Step(name="a", title="A", state=StepState.SUCCEEDED),)
    assert start_next_step(steps) == steps


def test_only_running_step_is_finished() -> None:
    before = operation(
        Step(name="a", title="A", state=StepState.SUCCEEDED),
        Step(name="b", title="B", state=StepState.RUNNING),
        Step(name="c", title="C"),
    )
    after = close_running_step(before, StepState.FAILED, "why")
    assert [step.state for step in after.steps] == ["succeeded", "failed", "pending"]
    assert after.steps[1].message == "why"
    assert after.steps[1].finished_at is not None
    assert [step.state for step in before.steps] == [
        "succeeded",
        "running",
        "pending",
    ]  # models are frozen


def test_step_result_changes_one_step() -> None:
    before = operation(Step(name="a", title="A"), Step(name="b", title="B"))
    assert [step.message for step in update_step(before, 1, message="x").steps] == ["", "x"]


def test_cancelled_store_has_next_step() -> None:
    failure = make_cancellation_failure(Activity.CREATE)
    assert (failure.code, failure.retryable) == ("cancelled", True)
    assert failure.next


CAUSE = Failure(code="image_missing", detail="No image.", step="b", next="Build it.")
WORSE = Failure(code="unschedulable", detail="No room.", step="rollback-b", next="Make room.")


def upgrade(*steps: Step, error: Failure | None = None) -> Operation:
    asked = UpgradeInput(from_version="1", to_version="2")
    return operation(*steps).model_copy(
        update={"kind": OperationKind.UPGRADE, "input": asked, "error": error}
    )


def store(state: StoreState = StoreState.UPGRADING) -> Store:
    return Store(
        id="sto_aaaaaaaaaaaaaaaa",
        tenant_id="ten_aaaaaaaaaaaaaaaa",
        name="acme",
        engine="shop",
        engine_version="1",
        parameters={},
        state=state,
        url="http://acme/",
        admin_url=None,
        failure=None,
        created_at=THEN,
        ready_at=THEN,
        deleted_at=None,
        version=7,
    )


def test_rollback_start_closes_upgrade_steps() -> None:
    there = (
        Step(name="a", title="A", state=StepState.SUCCEEDED),
        Step(name="b", title="B", state=StepState.RUNNING),
    )
    steps = switch_steps_to_rollback(
        (*there, Step(name="c", title="C")), CAUSE, plan("rollback-b", "rollback-c")
    )
    assert [(step.name, step.state) for step in steps] == [
        *(("a", "succeeded"), ("b", "failed"), ("c", "cancelled")),
        *(("rollback-b", "running"), ("rollback-c", "pending")),
    ]
    assert (steps[1].message, steps[2].message) == ("No image.", "Not started")
    stopped = switch_steps_to_rollback(there, make_cancellation_failure(Activity.UPGRADE), ())
    assert [step.state for step in stopped] == ["succeeded", "cancelled"]


def test_claim_during_rollback_keeps_both_plans() -> None:
    kept = (
        Step(name="a", title="A", state=StepState.FAILED),
        Step(name="rollback-b", title="B", state=StepState.SUCCEEDED),
    )
    steps = start_next_step(
        merge_step_plan(upgrade(*kept, error=CAUSE), plan("rollback-b", "rollback-c"))
    )
    assert [(step.name, step.state) for step in steps] == [
        ("a", "failed"),
        ("rollback-b", "succeeded"),
        ("rollback-c", "running"),
    ]


def test_operation_start_changes_store_state() -> None:
    changed = apply_claim(store(StoreState.READY), upgrade())
    assert (changed.store.state, changed.event) == ("upgrading", "store.upgrading")
    again = apply_claim(store(StoreState.UPGRADING), upgrade())
    assert (again.store, again.event) == (store(StoreState.UPGRADING), "store.step")
    back = apply_claim(store(StoreState.UPGRADING), upgrade(error=CAUSE))
    assert (back.store.state, back.store.version) == ("rolling_back", 8)
    assert back.event == "store.rolling_back"


@pytest.mark.parametrize("state", [StoreState.FAILED, StoreState.DELETED, StoreState.DELETING])
def test_illegal_start_or_success_is_rejected(state: StoreState) -> None:
    with pytest.raises(IllegalTransition, match=f"from `{state}` to `upgrading`"):
        apply_claim(store(state), upgrade())
    with pytest.raises(IllegalTransition, match=f"from `{state}` to `ready`"):
        apply_success(store(state), upgrade(), {})


def test_step_keeps_store_state() -> None:
    same = apply_progress(store(), upgrade())
    assert (same.store, same.event) == (store(), "store.step")
    moved = apply_progress(store(), upgrade(), {"url": "http://new/"})
    assert (moved.store.url, moved.store.version) == ("http://new/", 8)
    deleting = apply_progress(store(StoreState.DELETING), upgrade())
    assert (deleting.store.state, deleting.event) == ("deleting", "store.step")


def test_version_changes_only_on_success() -> None:
    after, ended, event = apply_success(store(), upgrade(), {"url": "http://new/"})
    assert (after.engine_version, after.state, after.url, after.ready_at) == (
        "2",
        "ready",
        "http://new/",
        THEN,
    )
    assert (ended.state, event) == ("succeeded", "store.upgraded")
    after, ended, event = apply_success(store(StoreState.ROLLING_BACK), upgrade(error=CAUSE), {})
    assert (after.engine_version, after.state, event) == ("1", "ready", "store.rolled_back")
    assert (ended.state, ended.error and ended.error.detail) == (
        "failed",
        "No image. The store is back on 1.",
    )


def test_failed_rollback_records_both_failures() -> None:
    both = describe_failed_rollback(upgrade(error=CAUSE), WORSE)
    assert (both.code, both.step) == ("rollback_failed", "rollback-b")
    assert (
        both.detail
        == "No image. (image_missing) The automatic rollback failed, too: No room. (unschedulable)"
    )
    assert describe_failed_rollback(upgrade(), WORSE) is WORSE
