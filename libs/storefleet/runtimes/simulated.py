"""Simulated stores: steps that end at once and keep nothing.

For measuring the platform without the cost of stores, and for previews.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from storefleet.core.errors import Conflict, PermanentError
from storefleet.core.models import AdminCredentials, Store
from storefleet.core.observed import StorefrontClass
from storefleet.core.settings import Settings
from storefleet.engines.catalogue import EngineCatalogue
from storefleet.runtimes.protocol import (
    Address,
    MailOutbox,
    ResourceUsage,
    RuntimeStep,
    StepContext,
    StepResult,
    VersionChange,
)
from storefleet.runtimes.storefront_observation import StorefrontObservation

#: A version with this image fails its upgrade, so that a preview can show an automatic rollback.
_MISSING_IMAGE = "nowhere"


class SimulatedRuntime:
    """Implements the runtime protocol without resources."""

    supports_version_changes = True

    def __init__(self, *, settings: Settings, engines: EngineCatalogue) -> None:
        self._domain = settings.store_domain
        self._engines = engines

    @asynccontextmanager
    async def open_resources(self) -> AsyncIterator["SimulatedRuntime"]:
        """Hold nothing."""
        yield self

    async def check_available(self) -> None:
        """Succeed: a simulation is always available."""

    def create_steps(self, store: Store) -> Sequence[RuntimeStep]:
        """Return one step that reports the store's address."""
        del store
        return (RuntimeStep("simulate", "Simulate the creation", self._simulate_running),)

    def delete_steps(self, store: Store) -> Sequence[RuntimeStep]:
        """Return one step without effect."""
        del store
        return (RuntimeStep("simulate", "Simulate the deletion", self._simulate_step),)

    def upgrade_steps(self, store: Store, change: VersionChange) -> Sequence[RuntimeStep]:
        """Return three steps; the last one fails for a version whose image is missing."""
        del store, change
        return (
            RuntimeStep("baseline", "Simulate the look at the storefront", self._simulate_baseline),
            RuntimeStep("dump", "Simulate the database dump", self._simulate_step),
            RuntimeStep("release", "Simulate the installation", self._simulate_release),
        )

    def automatic_rollback_steps(
        self, store: Store, change: VersionChange
    ) -> Sequence[RuntimeStep]:
        """Return one step that succeeds."""
        del store, change
        title = "Simulate the return to the previous version"
        return (RuntimeStep("rollback-release", title, self._simulate_running),)

    def rollback_steps(self, store: Store, change: VersionChange) -> Sequence[RuntimeStep]:
        """Return two steps, or three if the dump is restored."""
        del store
        baseline = RuntimeStep(
            "baseline", "Simulate the look at the storefront", self._simulate_baseline
        )
        restore = RuntimeStep("restore", "Simulate the restore of the dump", self._simulate_step)
        release = RuntimeStep("release", "Simulate the installation", self._simulate_running)
        return (baseline, restore, release) if change.restore else (baseline, release)

    async def read_usage(self, store: Store) -> list[ResourceUsage] | None:
        """Return the plan's amounts, none of them used."""
        engine = self._engines.find(store.engine)
        plan = engine.get_plan(store.plan) if engine else None
        if plan is None:
            return None
        return [ResourceUsage(name, "0", str(hard), 0.0) for name, hard in plan.quota.items()]

    async def read_credentials(self, store: Store) -> AdminCredentials | None:
        """Return None: a simulated store has no admin."""
        del store
        return None

    async def find_mail_outbox(self, store: Store) -> MailOutbox:
        """Raise Conflict: a simulated store sends and keeps no mails."""
        raise Conflict(
            f"The store {store.name} is simulated: it sends no mails and keeps none.",
            code="no_mail_outbox",
        )

    async def read_logs(self, store: Store, *, tail: int) -> list[str]:
        """Return one line that explains why there is no log."""
        return [f"{store.name} is simulated and has no log."][:tail]

    async def _simulate_baseline(self, context: StepContext) -> StepResult:
        baseline = context.baseline or StorefrontObservation(
            storefront=StorefrontClass.SERVING,
            storefront_status="2xx",
            storefront_text="answers 200",
        )
        return StepResult(baseline.summary, baseline=baseline)

    async def _simulate_running(self, context: StepContext) -> StepResult:
        url = f"http://{context.store.name}.{self._domain}/"
        return StepResult("Simulated", Address(url, f"{url}admin/"))

    async def _simulate_release(self, context: StepContext) -> StepResult:
        engine = self._engines.find(context.store.engine)
        version = context.change.to_version if context.change else ""
        if engine and engine.get_image(version) == _MISSING_IMAGE:
            raise PermanentError(
                "image_missing",
                f"The image of version {version} does not exist.",
                next_step="Choose another version, or correct the name of its image.",
            )
        return await self._simulate_running(context)

    async def _simulate_step(self, context: StepContext) -> StepResult:
        del context
        return StepResult("Simulated")
