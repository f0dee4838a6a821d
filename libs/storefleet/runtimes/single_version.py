"""What a runtime answers whose stores keep the version that they were made with."""

from collections.abc import Sequence

from storefleet.core.errors import Unchanged
from storefleet.core.models import Store
from storefleet.runtimes.protocol import Change, Outcome, RuntimeStep, Use, Work


class OneVersion:
    """A part of such a runtime."""

    changes_versions = False

    def upgrade_steps(self, store: Store, change: Change) -> Sequence[RuntimeStep]:
        del store, change
        return (RuntimeStep("release", "Install the version", _refuse),)

    def return_steps(self, store: Store, change: Change) -> Sequence[RuntimeStep]:
        del store, change
        return (RuntimeStep("return-release", "Go back to the version before", _stay),)

    def rollback_steps(self, store: Store, change: Change) -> Sequence[RuntimeStep]:
        return self.upgrade_steps(store, change)

    async def usage(self, store: Store) -> list[Use] | None:
        """Nothing limits what a store takes."""
        del store
        return None


async def _refuse(_work: Work) -> Outcome:
    raise Unchanged(
        "cannot_change_versions",
        "Here a store keeps the version that it was made with.",
        next_step="Create a new store with the other version, or run the platform on Kubernetes.",
    )


async def _stay(_work: Work) -> Outcome:
    return Outcome("It was never left")
