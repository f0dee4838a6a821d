"""What a runtime answers whose stores keep the version that they were made with."""

from collections.abc import Sequence

from storefleet.errors import PermanentError
from storefleet.models import Store
from storefleet.runtimes.base import Change, RuntimeStep, Use


class OneVersion:
    """A part of such a runtime."""

    changes_versions = False

    def upgrade_steps(self, store: Store, change: Change) -> Sequence[RuntimeStep]:
        del store, change
        raise _refusal()

    def return_steps(self, store: Store, change: Change) -> Sequence[RuntimeStep]:
        del store, change
        raise _refusal()

    def rollback_steps(self, store: Store, change: Change) -> Sequence[RuntimeStep]:
        del store, change
        raise _refusal()

    async def usage(self, store: Store) -> list[Use] | None:
        """Nothing limits what a store takes."""
        del store
        return None


def _refusal() -> PermanentError:
    return PermanentError(
        "cannot_change_versions",
        "Here a store keeps the version that it was made with.",
        next_step="Create a new store with the other version, or run the platform on Kubernetes.",
    )
