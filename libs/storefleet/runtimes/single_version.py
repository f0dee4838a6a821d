"""What a runtime answers whose stores keep the version that they were made with."""

from collections.abc import Sequence

from storefleet.core.errors import NothingChanged
from storefleet.core.models import Store
from storefleet.runtimes.protocol import (
    ResourceUsage,
    RuntimeStep,
    StepContext,
    StepResult,
    VersionChange,
)


class SingleVersionRuntime:
    """A part of such a runtime."""

    supports_version_changes = False

    def upgrade_steps(self, store: Store, change: VersionChange) -> Sequence[RuntimeStep]:
        del store, change
        return (RuntimeStep("release", "Install the version", _reject_change),)

    def automatic_rollback_steps(
        self, store: Store, change: VersionChange
    ) -> Sequence[RuntimeStep]:
        del store, change
        return (RuntimeStep("rollback-release", "Go back to the version before", _keep_version),)

    def rollback_steps(self, store: Store, change: VersionChange) -> Sequence[RuntimeStep]:
        return self.upgrade_steps(store, change)

    async def read_usage(self, store: Store) -> list[ResourceUsage] | None:
        """Nothing limits what a store takes."""
        del store
        return None


async def _reject_change(_context: StepContext) -> StepResult:
    raise NothingChanged(
        "cannot_change_versions",
        "Here a store keeps the version that it was made with.",
        next_step="Create a new store with the other version, or run the platform on Kubernetes.",
    )


async def _keep_version(_context: StepContext) -> StepResult:
    return StepResult("It was never left")
