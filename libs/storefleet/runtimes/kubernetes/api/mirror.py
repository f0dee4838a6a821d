"""The part of the mirror for one kind: resource snapshots, and whether they are current."""

import math
import time
from collections.abc import Iterable

from storefleet.core.errors import RuntimeUnavailable, StorefleetError
from storefleet.runtimes.kubernetes.readiness.snapshots import ResourceSnapshot

MAX_OBJECTS_PER_STORE = 200


class ResourceMirror:
    """The snapshots of one kind, by store id and object UID.

    Attributes:
        resource_version: Version of the newest object or bookmark; empty if a list is required.
        sync_error: Why the snapshots may be stale or missing; None if they are current.
        restored_at: Monotonic time at which they became current after an outage; -inf without one.
    """

    def __init__(self) -> None:
        self.resource_version = ""
        self.sync_error: StorefleetError | None = RuntimeUnavailable(
            "The objects of the cluster have not been listed yet."
        )
        self.restored_at = -math.inf
        self._snapshots_by_store: dict[str, dict[str, ResourceSnapshot]] = {}
        self._has_been_current = False

    @property
    def needs_list(self) -> bool:
        """Whether the next request must be a list, because no watch can continue."""
        return not self.resource_version

    def request_list(self) -> None:
        """List again instead of continuing the watch; the snapshots stay meanwhile."""
        self.resource_version = ""

    def get_snapshots(self, store_id: str) -> Iterable[ResourceSnapshot]:
        """Return the snapshots of a store's objects."""
        return self._snapshots_by_store.get(store_id, {}).values()

    def replace_all(
        self, found: dict[str, dict[str, ResourceSnapshot]], resource_version: str
    ) -> None:
        """Replace the content by the result of a list; the mirror is current afterwards."""
        if self.sync_error and self._has_been_current:
            self.restored_at = time.monotonic()
        self._snapshots_by_store, self._has_been_current = dict(found), True
        self.resource_version, self.sync_error = resource_version, None

    def update(self, store_id: str, uid: str, snapshot: ResourceSnapshot | None) -> None:
        """Store the snapshot of a changed object, or remove it if `snapshot` is None."""
        objects = self._snapshots_by_store.setdefault(store_id, {})
        if snapshot is None:
            objects.pop(uid, None)
        elif uid in objects or len(objects) < MAX_OBJECTS_PER_STORE:
            objects[uid] = snapshot
        if not objects:
            del self._snapshots_by_store[store_id]
