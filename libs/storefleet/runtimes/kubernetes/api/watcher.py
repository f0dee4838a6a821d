"""What there is of every store, kept current: one list and watch per kind for all stores of the cluster together.

It begins with the first store that somebody follows, and never gives up. Steps read the mirror and are woken when
something of their store changes; nobody asks the API server about a single store.
"""

import asyncio
import math
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import NamedTuple

from storefleet.core.async_tasks import cancel_and_wait
from storefleet.core.errors import RuntimeUnavailable, StorefleetError
from storefleet.core.identifiers import STORE_PREFIX, is_id, make_resource_name
from storefleet.observability import logs
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.client import KubernetesClient
from storefleet.runtimes.kubernetes.api.resource_kinds import Manifest, ResourceKind
from storefleet.runtimes.kubernetes.readiness.snapshots import (
    PodSnapshot,
    ReplicaSetSnapshot,
    ResourceSnapshot,
    StoreSnapshot,
    WorkloadSnapshot,
    make_snapshot,
)

log = logs.get_logger(__name__)

WATCHED_KINDS = (
    resource_kinds.POD,
    resource_kinds.DEPLOYMENT,
    resource_kinds.REPLICA_SET,
    resource_kinds.STATEFUL_SET,
    resource_kinds.JOB,
)
_MAX_OBJECTS_PER_STORE = 200


class WatchTimings(NamedTuple):
    """Times in seconds."""

    min_watch_s: int = 240  # a watch is ended by the server after a time between these
    max_watch_s: int = 300
    idle_timeout_s: float = 90  # without even a bookmark: the connection is dead
    min_backoff_s: float = 0.5  # after a failure; it doubles
    max_backoff_s: float = 8
    min_healthy_watch_s: float = 1  # a watch that ends sooner has failed


class StoreWatcher:
    """The mirror of the cluster that the steps of a process share."""

    def __init__(self, client: KubernetesClient, *, timings: WatchTimings = WatchTimings()) -> None:  # noqa: B008 - it never changes
        self._client = client
        self._timings = timings
        self._mirrors = {kind: _ResourceMirror() for kind in WATCHED_KINDS}
        self._subscribers: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["StoreWatcher"]:
        try:
            yield self
        finally:
            await cancel_and_wait(self._tasks)
            self._tasks.clear()

    @contextmanager
    def subscribe(self, store_id: str) -> Iterator["StoreSubscription"]:
        """To be woken by changes of this store."""
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._keep_mirror_current(kind), name=f"watch {kind.plural}")
                for kind in WATCHED_KINDS
            ]
        event = asyncio.Event()
        self._subscribers[store_id].add(event)
        try:
            yield StoreSubscription(self, store_id, event)
        finally:
            self._subscribers[store_id].discard(event)
            if not self._subscribers[store_id]:
                del self._subscribers[store_id]

    def take_snapshot(self, store_id: str) -> StoreSnapshot:
        found = [
            each for mirror in self._mirrors.values() for each in mirror.get_snapshots(store_id)
        ]
        return StoreSnapshot(
            pods=tuple(each for each in found if isinstance(each, PodSnapshot)),
            workloads=tuple(each for each in found if isinstance(each, WorkloadSnapshot)),
            replica_sets=tuple(each for each in found if isinstance(each, ReplicaSetSnapshot)),
        )

    @property
    def restored_at(self) -> float:
        """When it became current again after trouble, on the monotonic clock; long ago if there never was any."""
        return max(mirror.restored_at for mirror in self._mirrors.values())

    @property
    def sync_error(self) -> StorefleetError | None:
        """Why the mirror may be old, or not there yet; None when it is current."""
        return next(
            (mirror.sync_error for mirror in self._mirrors.values() if mirror.sync_error), None
        )

    def _wake_subscribers(self, store_ids: Iterable[str]) -> None:
        for store_id in store_ids:
            for event in self._subscribers.get(store_id, ()):
                event.set()

    async def _keep_mirror_current(self, kind: ResourceKind) -> None:
        """List, then watch; begin again with a list after anything that is not the watch's own end.

        A watch that breaks is no trouble as long as the list after it succeeds.
        """
        mirror, failures = self._mirrors[kind], 0
        while True:
            began = math.inf
            try:
                if not mirror.resource_version:
                    await self._list_objects(kind, mirror)
                began = time.monotonic()
                await self._watch_objects(kind, mirror)
            except StorefleetError as error:
                self._record_watch_failure(kind, mirror, error)
            except Exception as error:  # whatever an answer held, the mirror goes on
                log.exception("watch_crashed", kind=kind.plural)
                self._record_watch_failure(
                    kind,
                    mirror,
                    RuntimeUnavailable(
                        f"The watch of {kind.plural} failed ({type(error).__name__})."
                    ),
                )
            failures = (
                0 if time.monotonic() - began > self._timings.min_healthy_watch_s else failures + 1
            )
            if failures:
                await asyncio.sleep(self._compute_backoff(failures))

    def _record_watch_failure(
        self, kind: ResourceKind, mirror: "_ResourceMirror", error: StorefleetError
    ) -> None:
        """What is known stays, as the best there is."""
        if not mirror.resource_version:  # it was the list that failed
            mirror.sync_error = error
            self._wake_subscribers(list(self._subscribers))  # they may want to say it
        mirror.resource_version = ""
        log.warning("watch_lost", kind=kind.plural, reason=str(error)[:300])

    def _compute_backoff(self, failures: int) -> float:
        longest: float = min(
            self._timings.max_backoff_s, self._timings.min_backoff_s * 2.0 ** min(failures - 1, 10)
        )
        return longest * random.uniform(0.5, 1)  # noqa: S311 - jitter, not a secret

    async def _list_objects(self, kind: ResourceKind, mirror: "_ResourceMirror") -> None:
        found: dict[str, dict[str, ResourceSnapshot]] = defaultdict(dict)
        version = ""
        async with aclosing(
            self._client.list_pages(kind, labels=resource_kinds.STORE_LABEL)
        ) as pages:
            async for page in pages:
                version = page["metadata"]["resourceVersion"]
                for manifest in page["items"] or ():
                    if (store_id := _find_store_id(manifest)) and len(
                        found[store_id]
                    ) < _MAX_OBJECTS_PER_STORE:
                        found[store_id][manifest["metadata"]["uid"]] = make_snapshot(kind, manifest)
        mirror.replace_all(found, version)
        self._wake_subscribers(list(self._subscribers))

    async def _watch_objects(self, kind: ResourceKind, mirror: "_ResourceMirror") -> None:
        seconds = random.randint(self._timings.min_watch_s, self._timings.max_watch_s)  # noqa: S311 - jitter, not a secret
        changes = self._client.watch_objects(
            kind,
            labels=resource_kinds.STORE_LABEL,
            resource_version=mirror.resource_version,
            duration_s=seconds,
            idle_timeout_s=self._timings.idle_timeout_s,
        )
        async with aclosing(changes):
            async for change in changes:
                manifest = change["object"]
                if change["type"] == "ERROR":  # most often 410: what we know is too old
                    raise RuntimeUnavailable(
                        f"The watch of {kind.plural} is begun again: {manifest.get('message', '')[:200]}"
                    )
                mirror.resource_version = manifest["metadata"]["resourceVersion"]
                if change["type"] != "BOOKMARK" and (store_id := _find_store_id(manifest)):
                    gone = change["type"] == "DELETED"
                    mirror.update(
                        store_id,
                        manifest["metadata"]["uid"],
                        None if gone else make_snapshot(kind, manifest),
                    )
                    self._wake_subscribers([store_id])


class StoreSubscription:
    """One step's view of one store."""

    def __init__(self, watcher: StoreWatcher, store_id: str, changed: asyncio.Event) -> None:
        self._watcher = watcher
        self._store_id = store_id
        self._changed = changed

    @property
    def sync_error(self) -> StorefleetError | None:
        return self._watcher.sync_error

    @property
    def restored_at(self) -> float:
        return self._watcher.restored_at

    def take_snapshot(self) -> StoreSnapshot:
        """What there is now; changes from here on end the next `changed`."""
        self._changed.clear()
        return self._watcher.take_snapshot(self._store_id)

    async def wait_for_change(self, timeout_s: float) -> None:
        """Until something changes, or the time is up."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return

    async def wait_until_current(self, timeout_s: float) -> bool:
        """Whether the mirror is current, now or within the time."""
        deadline = time.monotonic() + timeout_s
        while self.sync_error and (left := deadline - time.monotonic()) > 0:
            self._changed.clear()
            await self.wait_for_change(min(left, 1))
        return self.sync_error is None


class _ResourceMirror:
    """Everything of one kind, by store and UID."""

    def __init__(self) -> None:
        self.resource_version = ""  # of the newest thing seen; empty: a list is needed
        self.sync_error: StorefleetError | None = RuntimeUnavailable(
            "The cluster has not been looked at yet."
        )
        self.restored_at = -math.inf
        self._snapshots_by_store: dict[str, dict[str, ResourceSnapshot]] = {}
        self._has_been_current = False

    def get_snapshots(self, store_id: str) -> Iterable[ResourceSnapshot]:
        return self._snapshots_by_store.get(store_id, {}).values()

    def replace_all(self, found: dict[str, dict[str, ResourceSnapshot]], version: str) -> None:
        """All of it anew, which is current again."""
        if self.sync_error and self._has_been_current:
            self.restored_at = time.monotonic()
        self._snapshots_by_store, self._has_been_current = dict(found), True
        self.resource_version, self.sync_error = version, None

    def update(self, store_id: str, uid: str, snapshot: ResourceSnapshot | None) -> None:
        objects = self._snapshots_by_store.setdefault(store_id, {})
        if snapshot is None:
            objects.pop(uid, None)
        elif uid in objects or len(objects) < _MAX_OBJECTS_PER_STORE:
            objects[uid] = snapshot
        if not objects:
            del self._snapshots_by_store[store_id]


def _find_store_id(manifest: Manifest) -> str | None:
    """The store that this belongs to; a label in a namespace that is not the store's proves nothing."""
    metadata = manifest["metadata"]
    store_id = metadata["labels"][resource_kinds.STORE_LABEL]
    if is_id(store_id, STORE_PREFIX) and metadata.get("namespace") == make_resource_name(store_id):
        return str(store_id)
    return None
