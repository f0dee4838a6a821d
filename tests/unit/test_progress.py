"""How steps move on, without a database."""

from datetime import UTC, datetime

from storefleet.models import Operation, Step
from storefleet.progress import begin_next, cancelled_failure, close_running, planned, with_step
from storefleet.runtimes.base import Outcome, RuntimeStep, Work

THEN = datetime(2026, 1, 1, tzinfo=UTC)


async def run(work: Work) -> Outcome:
    del work
    return Outcome()


def plan(*names: str) -> list[RuntimeStep]:
    return [RuntimeStep(name, name.title(), run) for name in names]


def operation(*steps: Step) -> Operation:
    return Operation(
        id="op_aaaaaaaaaaaaaaaa",
        tenant_id="ten_aaaaaaaaaaaaaaaa",
        store_id="sto_aaaaaaaaaaaaaaaa",
        kind="create",
        state="running",
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


def test_a_plan_keeps_what_earlier_runs_have_done() -> None:
    done = Step(name="a", title="A", state="succeeded", started_at=THEN, finished_at=THEN, message="done")
    steps = planned(operation(done), plan("a", "b", "c"))
    assert [step.name for step in steps] == ["a", "b", "c"]
    assert steps[0] == done
    assert [step.state for step in steps[1:]] == ["pending", "pending"]


def test_a_plan_that_has_changed_is_the_new_one() -> None:
    done = Step(name="gone", title="Gone", state="succeeded")
    assert [step.name for step in planned(operation(done), plan("a"))] == ["a"]


def test_the_first_unfinished_step_begins() -> None:
    steps = begin_next(
        (Step(name="a", title="A", state="succeeded"), Step(name="b", title="B"), Step(name="c", title="C"))
    )
    assert [step.state for step in steps] == ["succeeded", "running", "pending"]
    assert steps[1].started_at is not None


def test_a_step_that_runs_keeps_its_first_start() -> None:
    begun = Step(name="a", title="A", state="running", started_at=THEN, message="half way")
    assert begin_next((begun,)) == (begun,)


def test_nothing_begins_when_everything_is_done() -> None:
    steps = (Step(name="a", title="A", state="succeeded"),)
    assert begin_next(steps) == steps


def test_only_the_running_step_is_closed() -> None:
    before = operation(
        Step(name="a", title="A", state="succeeded"),
        Step(name="b", title="B", state="running"),
        Step(name="c", title="C"),
    )
    after = close_running(before, "failed", "why")
    assert [step.state for step in after.steps] == ["succeeded", "failed", "pending"]
    assert after.steps[1].message == "why"
    assert after.steps[1].finished_at is not None
    assert [step.state for step in before.steps] == ["succeeded", "running", "pending"]  # models are frozen


def test_one_step_changes() -> None:
    before = operation(Step(name="a", title="A"), Step(name="b", title="B"))
    assert [step.message for step in with_step(before, 1, message="x").steps] == ["", "x"]


def test_a_cancelled_store_says_what_to_do() -> None:
    failure = cancelled_failure()
    assert (failure.code, failure.retryable) == ("cancelled", True)
    assert failure.next
