"""Scripted upgrades and rollbacks of the simulated runtime."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from storefleet.core.errors import NothingChanged
from storefleet.core.models import Store
from storefleet.runtimes.protocol import RuntimeStep, StepContext, StepResult, VersionChange
from storefleet.runtimes.simulated import SimulatedRuntime
from tests.support.services.scripted_steps import Act, nothing

#: The folder of an engine with versions and plans.
VERSIONED = Path(__file__).parents[2] / "fixtures" / "engines" / "versions"
TITLES = {
    "dump": "Save the database",
    "orders": "Look for orders since then",
    "stop": "Close the shop",
    "restore": "Put the saved database back",
    "release": "Install the version",
    "start": "Start the shop",
    "verify": "Prove that the shop is shown",
    "rollback-release": "Install the version from before",
    "rollback-start": "Start the shop as before",
    "rollback-verify": "Prove that the old shop is shown",
}


class ScriptedVersionChanges:
    """Actions by step name; other steps succeed at once. `runs` lists the steps that ran."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.acts: dict[str, Act] = {}
        self.runs: list[str] = []
        monkeypatch.setattr(SimulatedRuntime, "upgrade_steps", self._upgrade)
        monkeypatch.setattr(SimulatedRuntime, "automatic_rollback_steps", self._return)
        monkeypatch.setattr(SimulatedRuntime, "rollback_steps", self._rollback)

    def _upgrade(self, _store: Store, _change: VersionChange) -> Sequence[RuntimeStep]:
        return self._steps("dump", "release", "start", "verify")

    def _return(self, _store: Store, _change: VersionChange) -> Sequence[RuntimeStep]:
        return self._steps("rollback-release", "rollback-start", "rollback-verify")

    def _rollback(self, _store: Store, change: VersionChange) -> Sequence[RuntimeStep]:
        first = ("orders", "stop", "restore") if change.restore else ()
        return self._steps(*first, "release", "start", "verify")

    def _steps(self, *names: str) -> Sequence[RuntimeStep]:
        return [RuntimeStep(name, TITLES[name], self._run(name)) for name in names]

    def _run(self, name: str) -> Callable[[StepContext], Awaitable[StepResult]]:
        async def run(work: StepContext) -> StepResult:
            self.runs.append(name)
            await self.acts.get(name, nothing)(work)
            return StepResult(f"{name} done")

        return run


async def reject_lost_orders(work: StepContext) -> None:
    """Reject the rollback: two orders would be lost without the confirmation."""
    assert work.change is not None
    if not work.change.discard_orders:
        raise NothingChanged(
            "orders_would_be_lost",
            "2 order(s) came in after the dump of 2026-11-20 and would be lost: 1042 (84.00); "
            "1043 (12.50).",
            next_step='Repeat with "discard_orders": true, or roll back without restore.',
        )
