"""Stores that exist on paper only: steps that end at once. For measuring the way of a store, and for previews."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from storefleet.core.errors import PermanentError
from storefleet.core.models import AdminCredentials, Store
from storefleet.core.settings import Settings
from storefleet.engines.catalogue import EngineCatalogue
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

    supports_version_changes = True

    def __init__(self, *, settings: Settings, engines: EngineCatalogue) -> None:
        self._domain = settings.store_domain
        self._engines = engines

    @asynccontextmanager
    async def open_resources(self) -> AsyncIterator["SimulatedRuntime"]:
        yield self

    async def check_available(self) -> None:
        return None

    def create_steps(self, store: Store) -> Sequence[RuntimeStep]:
        del store
        return (RuntimeStep("simulate", "Pretend to make the store", self._simulate_running),)

    def delete_steps(self, store: Store) -> Sequence[RuntimeStep]:
        del store
        return (RuntimeStep("simulate", "Pretend to remove the store", self._simulate_step),)

    def upgrade_steps(self, store: Store, change: VersionChange) -> Sequence[RuntimeStep]:
        del store, change
        return (
            RuntimeStep("dump", "Pretend to dump the database", self._simulate_step),
            RuntimeStep("release", "Pretend to install the version", self._simulate_release),
        )

    def automatic_rollback_steps(
        self, store: Store, change: VersionChange
    ) -> Sequence[RuntimeStep]:
        del store, change
        return (
            RuntimeStep(
                "rollback-release",
                "Pretend to go back to the version before",
                self._simulate_running,
            ),
        )

    def rollback_steps(self, store: Store, change: VersionChange) -> Sequence[RuntimeStep]:
        del store
        restore = RuntimeStep("restore", "Pretend to put the dump back", self._simulate_step)
        release = RuntimeStep("release", "Pretend to install the version", self._simulate_running)
        return (restore, release) if change.restore else (release,)

    async def read_usage(self, store: Store) -> list[ResourceUsage] | None:
        """What the plan allows, and that nothing of it is taken."""
        engine = self._engines.find(store.engine)
        plan = engine.get_plan(store.plan) if engine else None
        return (
            [ResourceUsage(name, "0", str(hard), 0.0) for name, hard in plan.quota.items()]
            if plan
            else None
        )

    async def read_credentials(self, store: Store) -> AdminCredentials | None:
        del store
        return None

    async def read_logs(self, store: Store, *, tail: int) -> list[str]:
        return [f"{store.name} is simulated: it runs nowhere."][:tail]

    async def _simulate_running(self, context: StepContext) -> StepResult:
        url = f"http://{context.store.name}.{self._domain}/"
        return StepResult("Simulated", Address(url, f"{url}admin/"))

    async def _simulate_release(self, context: StepContext) -> StepResult:
        """A version whose image is “nowhere” does not come up, so that it can be seen what happens then."""
        engine = self._engines.find(context.store.engine)
        if engine and context.change and engine.get_image(context.change.to_version) == "nowhere":
            raise PermanentError(
                "image_missing",
                f"The image of version {context.change.to_version} is nowhere.",
                next_step="Choose another version, or mend the name of its image.",
            )
        return await self._simulate_running(context)

    async def _simulate_step(self, context: StepContext) -> StepResult:
        del context
        return StepResult("Simulated")
