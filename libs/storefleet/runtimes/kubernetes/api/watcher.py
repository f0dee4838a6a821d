"""A mirror of all stores' Kubernetes objects, kept current by one list-and-watch per kind.

The watches serve all stores of the cluster together, so a step never polls the API server about its
own store: it reads the mirror and is woken when an object of its store changes. The watches start
with the first subscription and are restarted after every failure.
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
from storefleet.runtimes.kubernetes.api.mirror import MAX_OBJECTS_PER_STORE, ResourceMirror
from storefleet.runtimes.kubernetes.api.resource_kinds import Manifest, ResourceKind
from storefleet.runtimes.kubernetes.readiness.snapshot_parsing import make_snapshot
from storefleet.runtimes.kubernetes.readiness.snapshots import (
    PodSnapshot,
    ReplicaSetSnapshot,
    ResourceSnapshot,
    StoreSnapshot,
    WorkloadSnapshot,
)

log = logs.get_logger(__name__)

WATCHED_KINDS = (
    resource_kinds.POD,
    resource_kinds.DEPLOYMENT,
    resource_kinds.REPLICA_SET,
    resource_kinds.STATEFUL_SET,
    resource_kinds.JOB,
)


class WatchTimings(NamedTuple):
    """Times of the watches, in seconds.

    Attributes:
        min_watch_s: Shortest duration after which the server ends a watch; chosen at random.
        max_watch_s: Longest such duration.
        idle_timeout_s: Time without even a bookmark after which a connection counts as dead.
        min_backoff_s: Pause after the first failure; it doubles with each further one.
        max_backoff_s: Upper bound of that pause.
        min_healthy_watch_s: A watch that ends sooner counts as failed.
    """

    min_watch_s: int = 240
    max_watch_s: int = 300
    idle_timeout_s: float = 90
    min_backoff_s: float = 0.5
    max_backoff_s: float = 8
    min_healthy_watch_s: float = 1


_DEFAULT_TIMINGS = WatchTimings()


class StoreWatcher:
    """Keeps the mirror of one process current, and wakes the steps that wait for changes."""

    def __init__(
        self, client: KubernetesClient, *, timings: WatchTimings = _DEFAULT_TIMINGS
    ) -> None:
        self._client = client
        self._timings = timings
        self._mirrors = {kind: ResourceMirror() for kind in WATCHED_KINDS}
        self._subscribers: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def open_resources(self) -> AsyncIterator["StoreWatcher"]:
        """Stop all watches at exit."""
        try:
            yield self
        finally:
            await cancel_and_wait(self._tasks)
            self._tasks.clear()

    @contextmanager
    def subscribe(self, store_id: str) -> Iterator["StoreSubscription"]:
        """Subscribe to changes of a store's objects; start the watches if they do not run."""
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._keep_mirror_current(kind), name=f"watch {kind.plural}")
                for kind in WATCHED_KINDS
            ]
        changed = asyncio.Event()
        self._subscribers[store_id].add(changed)
        try:
            yield StoreSubscription(self, store_id, changed)
        finally:
            self._subscribers[store_id].discard(changed)
            if not self._subscribers[store_id]:
                del self._subscribers[store_id]

    def take_snapshot(self, store_id: str) -> StoreSnapshot:
        """Return a snapshot of a store's objects, as they are in the mirror now."""
        found: list[ResourceSnapshot] = []
        for mirror in self._mirrors.values():
            found.extend(mirror.get_snapshots(store_id))
        return StoreSnapshot(
            pods=tuple(each for each in found if isinstance(each, PodSnapshot)),
            workloads=tuple(each for each in found if isinstance(each, WorkloadSnapshot)),
            replica_sets=tuple(each for each in found if isinstance(each, ReplicaSetSnapshot)),
        )

    @property
    def restored_at(self) -> float:
        """Monotonic time at which the mirror became current after an outage; -inf without one."""
        return max(mirror.restored_at for mirror in self._mirrors.values())

    @property
    def sync_error(self) -> StorefleetError | None:
        """The reason why the mirror may be stale or empty; None if it is current."""
        return next(
            (mirror.sync_error for mirror in self._mirrors.values() if mirror.sync_error), None
        )

    def _wake_subscribers(self, store_ids: Iterable[str]) -> None:
        for store_id in store_ids:
            for changed in self._subscribers.get(store_id, ()):
                changed.set()

    async def _keep_mirror_current(self, kind: ResourceKind) -> None:
        """List, then watch; list again after anything other than the regular end of a watch.

        A broken watch is not an outage as long as the following list succeeds.
        """
        mirror, failures = self._mirrors[kind], 0
        while True:
            watch_started_at = math.inf  # a failed list counts as a watch that ended too soon
            try:
                if mirror.needs_list:
                    await self._list_objects(kind, mirror)
                watch_started_at = time.monotonic()
                await self._watch_objects(kind, mirror)
            except StorefleetError as error:
                self._record_watch_failure(kind, mirror, error)
            except Exception as error:  # an unexpected response must not end the mirror
                log.exception("watch_crashed", kind=kind.plural)
                failure = RuntimeUnavailable(
                    f"The watch of {kind.plural} failed ({type(error).__name__})."
                )
                self._record_watch_failure(kind, mirror, failure)
            healthy = time.monotonic() - watch_started_at > self._timings.min_healthy_watch_s
            failures = 0 if healthy else failures + 1
            if failures:
                await asyncio.sleep(self._compute_backoff(failures))

    def _record_watch_failure(
        self, kind: ResourceKind, mirror: ResourceMirror, error: StorefleetError
    ) -> None:
        """Request a new list; the snapshots stay, as the best information that is available."""
        if mirror.needs_list:  # the list itself failed
            mirror.sync_error = error
            self._wake_subscribers(list(self._subscribers))  # they report the outage
        mirror.request_list()
        log.warning("watch_failed", kind=kind.plural, reason=str(error)[:300])

    def _compute_backoff(self, failures: int) -> float:
        """Exponential backoff with jitter, in seconds."""
        upper_bound: float = min(
            self._timings.max_backoff_s,
            self._timings.min_backoff_s * 2.0 ** min(failures - 1, 10),
        )
        return upper_bound * random.uniform(0.5, 1)  # noqa: S311 - jitter, not a secret

    async def _list_objects(self, kind: ResourceKind, mirror: ResourceMirror) -> None:
        found: dict[str, dict[str, ResourceSnapshot]] = defaultdict(dict)
        resource_version = ""
        pages = self._client.list_pages(kind, labels=resource_kinds.STORE_LABEL)
        async with aclosing(pages):
            async for page in pages:
                resource_version = page["metadata"]["resourceVersion"]
                for manifest in page["items"] or ():
                    store_id = _find_store_id(manifest)
                    if store_id and len(found[store_id]) < MAX_OBJECTS_PER_STORE:
                        uid = manifest["metadata"]["uid"]
                        found[store_id][uid] = make_snapshot(kind, manifest)
        mirror.replace_all(found, resource_version)
        self._wake_subscribers(list(self._subscribers))

    async def _watch_objects(self, kind: ResourceKind, mirror: ResourceMirror) -> None:
        timings = self._timings
        duration_s = random.randint(timings.min_watch_s, timings.max_watch_s)  # noqa: S311 - jitter
        events = self._client.watch_objects(
            kind,
            labels=resource_kinds.STORE_LABEL,
            resource_version=mirror.resource_version,
            duration_s=duration_s,
            idle_timeout_s=timings.idle_timeout_s,
        )
        async with aclosing(events):
            async for event in events:
                manifest = event["object"]
                if event["type"] == "ERROR":  # mostly 410: the resource version is too old
                    message = manifest.get("message", "")[:200]
                    raise RuntimeUnavailable(f"The watch of {kind.plural} is restarted: {message}")
                mirror.resource_version = manifest["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK" and (store_id := _find_store_id(manifest)):
                    deleted = event["type"] == "DELETED"
                    snapshot = None if deleted else make_snapshot(kind, manifest)
                    mirror.update(store_id, manifest["metadata"]["uid"], snapshot)
                    self._wake_subscribers([store_id])


class StoreSubscription:
    """One step's view of one store in the mirror."""

    def __init__(self, watcher: StoreWatcher, store_id: str, changed: asyncio.Event) -> None:
        self._watcher = watcher
        self._store_id = store_id
        self._changed = changed

    @property
    def sync_error(self) -> StorefleetError | None:
        """The reason why the mirror may be stale or empty; None if it is current."""
        return self._watcher.sync_error

    @property
    def restored_at(self) -> float:
        """Monotonic time at which the mirror became current after an outage; -inf without one."""
        return self._watcher.restored_at

    def take_snapshot(self) -> StoreSnapshot:
        """Return the current snapshot; later changes end the next `wait_for_change`."""
        self._changed.clear()
        return self._watcher.take_snapshot(self._store_id)

    async def wait_for_change(self, timeout_s: float) -> None:
        """Wait until an object of the store changes, or until the timeout."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return

    async def wait_until_current(self, timeout_s: float) -> bool:
        """Wait until the mirror is current; return False after the timeout."""
        deadline = time.monotonic() + timeout_s
        while self.sync_error and (left_s := deadline - time.monotonic()) > 0:
            self._changed.clear()
            await self.wait_for_change(min(left_s, 1))
        return self.sync_error is None


def _find_store_id(manifest: Manifest) -> str | None:
    """Return the store that an object belongs to.

    The label alone is not trusted: in a namespace other than the store's own anybody can set it.
    """
    metadata = manifest["metadata"]
    store_id = metadata["labels"][resource_kinds.STORE_LABEL]
    if is_id(store_id, STORE_PREFIX) and metadata.get("namespace") == make_resource_name(store_id):
        return str(store_id)
    return None
