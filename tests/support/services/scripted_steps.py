"""Runtime steps whose actions a test defines."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from storefleet.core.models import Operation, Store
from storefleet.operations.step_plans import StepPlans
from storefleet.runtimes.protocol import Address, RuntimeStep, StepContext, StepResult

Act = Callable[[StepContext], Awaitable[None]]


async def nothing(_work: StepContext) -> None:
    return None


class Script:
    """A plan of named steps; `runs` lists which step ran for which store, in order."""

    def __init__(self, **steps: Act) -> None:
        self._steps = steps or {"only": nothing}
        self.runs: list[tuple[str, str]] = []
        self.now: dict[str, int] = {}
        self.most: dict[str, int] = {}

    def __call__(self, store: Store, operation: Operation) -> Sequence[RuntimeStep]:
        del store, operation
        return [
            RuntimeStep(name, name.title(), self._runner(name, act))
            for name, act in self._steps.items()
        ]

    def _runner(self, name: str, act: Act) -> Callable[[StepContext], Awaitable[StepResult]]:
        async def run(work: StepContext) -> StepResult:
            store_id = work.store.id
            self.runs.append((name, store_id))
            self.now[store_id] = self.now.get(store_id, 0) + 1
            self.most[store_id] = max(self.most.get(store_id, 0), self.now[store_id])
            try:
                await act(work)
            finally:
                self.now[store_id] -= 1
            url = f"http://{work.store.name}.localhost/"
            return StepResult(f"{name} done", Address(url, f"{url}admin/"))

        return run

    def count(self, name: str) -> int:
        return sum(1 for step, _store in self.runs if step == name)


class ScriptedStepPlans:
    """Step plans of creates, upgrades, automatic rollbacks and rollbacks, each a script."""

    def __init__(
        self,
        *,
        there: Script | None = None,
        back: Script | None = None,
        rollback: Script | None = None,
    ) -> None:
        self.there = there or Script(dump=nothing, release=nothing, verify=nothing)
        self.back = back or Script(**{"rollback-release": nothing, "rollback-verify": nothing})
        self.rollback = rollback or Script(release=nothing, verify=nothing)
        self.create = Script()

    @property
    def plans(self) -> StepPlans:
        return {"create": self.create, "upgrade": self._upgrade, "rollback": self.rollback}

    def _upgrade(self, store: Store, operation: Operation) -> Sequence[RuntimeStep]:
        return (self.back if operation.error else self.there)(store, operation)


class Gate:
    """A step that waits until the test opens it; `reached` is set when a step waits there."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, _work: StepContext) -> None:
        self.reached.set()
        await self.opened.wait()

    async def waited_for(self, within: float = 10) -> None:
        await asyncio.wait_for(self.reached.wait(), timeout=within)

    def open(self) -> None:
        self.opened.set()


def failing(error: Callable[[], Exception], *, times: int) -> Act:
    """Return an action that raises `times` times and then succeeds."""
    left = times

    async def act(_work: StepContext) -> None:
        nonlocal left
        if left > 0:
            left -= 1
            raise error()

    return act
