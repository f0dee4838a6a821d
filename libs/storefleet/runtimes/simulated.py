"""Stores that exist on paper only: steps that end at once. For measuring the way of a store, and for previews."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from storefleet.core.errors import PermanentError
from storefleet.core.models import AdminCredentials, Store
from storefleet.core.settings import Settings
from storefleet.engines.catalogue import Engines
from storefleet.runtimes.protocol import (
    Address,
    ResourceUsage,
    RuntimeStep,
    StepContext,
    StepResult,
    VersionChange,
)


class SimulatedRuntime:
    """Says yes."""

    changes_versions = True

    def __init__(self, *, settings: Settings, engines: Engines) -> None:
        self._domain = settings.store_domain
        self._engines = engines

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["SimulatedRuntime"]:
        yield self

    async def check(self) -> None:
        return None

    def create_steps(self, store: Store) -> Sequence[RuntimeStep]:
        del store
        return (RuntimeStep("simulate", "Pretend to make the store", self._pretend),)

    def delete_steps(self, store: Store) -> Sequence[RuntimeStep]:
        del store
        return (RuntimeStep("simulate", "Pretend to remove the store", self._forget),)

    def upgrade_steps(self, store: Store, change: VersionChange) -> Sequence[RuntimeStep]:
        del store, change
        return (
            RuntimeStep("dump", "Pretend to dump the database", self._forget),
            RuntimeStep("release", "Pretend to install the version", self._release),
        )

    def automatic_rollback_steps(
        self, store: Store, change: VersionChange
    ) -> Sequence[RuntimeStep]:
        del store, change
        return (
            RuntimeStep(
                "rollback-release", "Pretend to go back to the version before", self._pretend
            ),
        )

    def rollback_steps(self, store: Store, change: VersionChange) -> Sequence[RuntimeStep]:
        del store
        restore = RuntimeStep("restore", "Pretend to put the dump back", self._forget)
        release = RuntimeStep("release", "Pretend to install the version", self._pretend)
        return (restore, release) if change.restore else (release,)

    async def usage(self, store: Store) -> list[ResourceUsage] | None:
        """What the plan allows, and that nothing of it is taken."""
        engine = self._engines.find(store.engine)
        plan = engine.plan(store.plan) if engine else None
        return (
            [ResourceUsage(name, "0", str(hard), 0.0) for name, hard in plan.quota.items()]
            if plan
            else None
        )

    async def credentials(self, store: Store) -> AdminCredentials | None:
        del store
        return None

    async def logs(self, store: Store, *, tail: int) -> list[str]:
        return [f"{store.name} is simulated: it runs nowhere."][:tail]

    async def _pretend(self, work: StepContext) -> StepResult:
        url = f"http://{work.store.name}.{self._domain}/"
        return StepResult("Simulated", Address(url, f"{url}admin/"))

    async def _release(self, work: StepContext) -> StepResult:
        """A version whose image is “nowhere” does not come up, so that it can be seen what happens then."""
        engine = self._engines.find(work.store.engine)
        if engine and work.change and engine.image(work.change.target) == "nowhere":
            raise PermanentError(
                "image_missing",
                f"The image of version {work.change.target} is nowhere.",
                next_step="Choose another version, or mend the name of its image.",
            )
        return await self._pretend(work)

    async def _forget(self, work: StepContext) -> StepResult:
        del work
        return StepResult("Simulated")
