"""Requested rollbacks: a store that serves stays on its version when the rollback fails."""

from typing import Any, cast

import pytest

from storefleet.core.errors import (
    NothingChanged,
    PermanentError,
    RuntimeUnavailable,
    StorefleetError,
    TransientError,
)
from storefleet.core.observed import StorefrontClass
from storefleet.runtimes.kubernetes.rollback_steps import RollbackSteps
from storefleet.runtimes.kubernetes.version_steps import VersionSteps
from storefleet.runtimes.protocol import StepContext, StepResult, VersionChange
from storefleet.runtimes.storefront_observation import StorefrontObservation
from tests.support.cluster.samples import a_store

CRASH = PermanentError("store_crashes", "It crashed.", next_step="Read the log.")
LATE = TransientError("store_not_answering", "It answers 500.", next_step="Wait.")
SERVING = StorefrontObservation(storefront=StorefrontClass.SERVING, storefront_status="2xx")
DOWN = StorefrontObservation(storefront=StorefrontClass.DOWN)
BACK = VersionChange("2.0.0", "1.0.0", dump_operation_id="op_1")
RETURN = ["roll_back_release", "wait_for_rollback", "verify_rollback"]


class Steps:
    """Stands in for `VersionSteps`: `errors` by method, `calls` in order."""

    def __init__(self, *, origin_installed: bool = False, **errors: StorefleetError) -> None:
        self.errors = errors
        self.origin_installed = origin_installed
        self.calls: list[str] = []

    async def is_origin_installed(self, _context: StepContext) -> bool:
        return self.origin_installed

    def __getattr__(self, name: str) -> Any:
        async def run(_context: StepContext) -> StepResult:
            self.calls.append(name)
            if name in self.errors:
                raise self.errors[name]
            return StepResult(name)

        return run


async def start(steps: Steps, **fields: Any) -> StepResult:
    store = a_store().copy_with(engine_version=fields.pop("version", "2.0.0"))
    context = StepContext(
        store=store,
        operation_id="op_2",
        **{"change": BACK, "baseline": SERVING, **fields},
    )
    return await RollbackSteps(cast(VersionSteps, steps)).wait_until_ready(context)


async def test_successful_step_returns_its_result() -> None:
    steps = Steps()
    assert (await start(steps)).message == "wait_for_target"
    assert steps.calls == ["wait_for_target"]


async def test_failed_rollback_returns_to_present_version() -> None:
    steps = Steps(wait_for_target=CRASH)
    with pytest.raises(NothingChanged) as error:
        await start(steps)
    assert steps.calls == ["wait_for_target", *RETURN]
    assert error.value.code == "store_crashes"
    assert error.value.detail == "It crashed. The store is still on 2.0.0."


@pytest.mark.parametrize(
    "fields",
    [
        {"baseline": None},
        {"baseline": DOWN},
        {"version": "1.0.0"},
        {"change": BACK.__class__("2.0.0", "1.0.0", restore=True, dump_operation_id="op_1")},
    ],
)
async def test_rollback_without_serving_version_fails(fields: dict[str, Any]) -> None:
    """The store was down, a failed upgrade is retried, or the data is older."""
    steps = Steps(wait_for_target=CRASH)
    with pytest.raises(PermanentError) as error:
        await start(steps, **fields)
    assert error.value is CRASH
    assert steps.calls == ["wait_for_target"]


async def test_failed_return_names_both_causes() -> None:
    steps = Steps(wait_for_target=CRASH, verify_rollback=CRASH)
    with pytest.raises(PermanentError, match=r"It crashed\. Returning to 2\.0\.0 failed") as error:
        await start(steps)
    assert not isinstance(error.value, NothingChanged)


async def test_next_worker_continues_return() -> None:
    """Ready pods of the present version must not be taken for those of the previous one."""
    steps = Steps(origin_installed=True)
    with pytest.raises(NothingChanged, match=r"still on 2\.0\.0"):
        await start(steps)
    assert steps.calls == RETURN


async def test_unavailable_cluster_and_transient_error_are_retried() -> None:
    """Also during the return, which the next attempt continues."""
    for error in (LATE, RuntimeUnavailable("No answer.")):
        steps = Steps(wait_for_target=error)
        with pytest.raises(type(error)):
            await start(steps)
        assert steps.calls == ["wait_for_target"]
        steps = Steps(wait_for_target=CRASH, wait_for_rollback=error)
        with pytest.raises(type(error)):
            await start(steps)
