"""The part of a runtime whose stores keep the version with which they were created.

Admission rejects version changes there; these steps answer for an operation that exists already.
"""

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
    """Mixin for runtimes without version changes and without limits."""

    supports_version_changes = False

    def upgrade_steps(self, store: Store, change: VersionChange) -> Sequence[RuntimeStep]:
        """Return one step that rejects the change before any effect."""
        del store, change
        return (RuntimeStep("release", "Install the version", _reject_change),)

    def automatic_rollback_steps(
        self, store: Store, change: VersionChange
    ) -> Sequence[RuntimeStep]:
        """Return one step that succeeds at once: the version never changed."""
        del store, change
        return (RuntimeStep("rollback-release", "Restore the previous version", _keep_version),)

    def rollback_steps(self, store: Store, change: VersionChange) -> Sequence[RuntimeStep]:
        """Return one step that rejects the change before any effect."""
        return self.upgrade_steps(store, change)

    async def read_usage(self, store: Store) -> list[ResourceUsage] | None:
        """Return None: nothing limits stores here."""
        del store
        return None


async def _reject_change(_context: StepContext) -> StepResult:
    raise NothingChanged(
        "cannot_change_versions",
        "On this runtime a store keeps the version with which it was created.",
        next_step="Create a new store with the other version, or run the platform on Kubernetes.",
    )


async def _keep_version(_context: StepContext) -> StepResult:
    return StepResult("The version had not changed")
