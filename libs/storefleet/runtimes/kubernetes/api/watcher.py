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

from storefleet.core.async_tasks import end
from storefleet.core.errors import RuntimeAway, StorefleetError
from storefleet.core.identifiers import STORE, is_id, resource_name
from storefleet.observability import logs
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.client import Cluster
from storefleet.runtimes.kubernetes.api.resource_kinds import Kind, Manifest
from storefleet.runtimes.kubernetes.readiness.snapshots import (
    Digest,
    Pod,
    ReplicaSet,
    Seen,
    Workload,
    digest,
)

log = logs.get(__name__)

WATCHED = (
    resource_kinds.POD,
    resource_kinds.DEPLOYMENT,
    resource_kinds.REPLICA_SET,
    resource_kinds.STATEFUL_SET,
    resource_kinds.JOB,
)
_OBJECTS_PER_STORE = 200


class Pace(NamedTuple):
    """Times in seconds."""

    shortest: int = 240  # a watch is ended by the server after a time between these
    longest: int = 300
    silence: float = 90  # without even a bookmark: the connection is dead
    pause: float = 0.5  # after a failure; it doubles
    longest_pause: float = 8
    brief: float = 1  # a watch that ends sooner has failed


class Watching:
    """The mirror of the cluster that the steps of a process share."""

    def __init__(self, cluster: Cluster, *, pace: Pace = Pace()) -> None:  # noqa: B008 - it never changes
        self._cluster = cluster
        self._pace = pace
        self._mirrors = {kind: _Mirror() for kind in WATCHED}
        self._followers: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Watching"]:
        try:
            yield self
        finally:
            await end(self._tasks)
            self._tasks.clear()

    @contextmanager
    def following(self, store_id: str) -> Iterator["Follow"]:
        """To be woken by changes of this store."""
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._keep(kind), name=f"watch {kind.plural}")
                for kind in WATCHED
            ]
        event = asyncio.Event()
        self._followers[store_id].add(event)
        try:
            yield Follow(self, store_id, event)
        finally:
            self._followers[store_id].discard(event)
            if not self._followers[store_id]:
                del self._followers[store_id]

    def seen(self, store_id: str) -> Seen:
        found = [each for mirror in self._mirrors.values() for each in mirror.of(store_id)]
        return Seen(
            pods=tuple(each for each in found if isinstance(each, Pod)),
            workloads=tuple(each for each in found if isinstance(each, Workload)),
            replica_sets=tuple(each for each in found if isinstance(each, ReplicaSet)),
        )

    @property
    def restored(self) -> float:
        """When it became current again after trouble, on the monotonic clock; long ago if there never was any."""
        return max(mirror.restored for mirror in self._mirrors.values())

    @property
    def trouble(self) -> StorefleetError | None:
        """Why the mirror may be old, or not there yet; None when it is current."""
        return next((mirror.trouble for mirror in self._mirrors.values() if mirror.trouble), None)

    def _wake(self, stores: Iterable[str]) -> None:
        for store_id in stores:
            for event in self._followers.get(store_id, ()):
                event.set()

    async def _keep(self, kind: Kind) -> None:
        """List, then watch; begin again with a list after anything that is not the watch's own end.

        A watch that breaks is no trouble as long as the list after it succeeds.
        """
        mirror, failures = self._mirrors[kind], 0
        while True:
            began = math.inf
            try:
                if not mirror.version:
                    await self._list(kind, mirror)
                began = time.monotonic()
                await self._watch(kind, mirror)
            except StorefleetError as error:
                self._lost(kind, mirror, error)
            except Exception as error:  # whatever an answer held, the mirror goes on
                log.exception("watch_crashed", kind=kind.plural)
                self._lost(
                    kind,
                    mirror,
                    RuntimeAway(f"The watch of {kind.plural} failed ({type(error).__name__})."),
                )
            failures = 0 if time.monotonic() - began > self._pace.brief else failures + 1
            if failures:
                await asyncio.sleep(self._pause(failures))

    def _lost(self, kind: Kind, mirror: "_Mirror", error: StorefleetError) -> None:
        """What is known stays, as the best there is."""
        if not mirror.version:  # it was the list that failed
            mirror.trouble = error
            self._wake(list(self._followers))  # they may want to say it
        mirror.version = ""
        log.warning("watch_lost", kind=kind.plural, reason=str(error)[:300])

    def _pause(self, failures: int) -> float:
        longest: float = min(
            self._pace.longest_pause, self._pace.pause * 2.0 ** min(failures - 1, 10)
        )
        return longest * random.uniform(0.5, 1)  # noqa: S311 - jitter, not a secret

    async def _list(self, kind: Kind, mirror: "_Mirror") -> None:
        found: dict[str, dict[str, Digest]] = defaultdict(dict)
        version = ""
        async with aclosing(self._cluster.pages(kind, labels=resource_kinds.STORE)) as pages:
            async for page in pages:
                version = page["metadata"]["resourceVersion"]
                for manifest in page["items"] or ():
                    if (store_id := _store_of(manifest)) and len(
                        found[store_id]
                    ) < _OBJECTS_PER_STORE:
                        found[store_id][manifest["metadata"]["uid"]] = digest(kind, manifest)
        mirror.replace(found, version)
        self._wake(list(self._followers))

    async def _watch(self, kind: Kind, mirror: "_Mirror") -> None:
        seconds = random.randint(self._pace.shortest, self._pace.longest)  # noqa: S311 - jitter, not a secret
        changes = self._cluster.changes(
            kind,
            labels=resource_kinds.STORE,
            version=mirror.version,
            seconds=seconds,
            silence=self._pace.silence,
        )
        async with aclosing(changes):
            async for change in changes:
                manifest = change["object"]
                if change["type"] == "ERROR":  # most often 410: what we know is too old
                    raise RuntimeAway(
                        f"The watch of {kind.plural} is begun again: {manifest.get('message', '')[:200]}"
                    )
                mirror.version = manifest["metadata"]["resourceVersion"]
                if change["type"] != "BOOKMARK" and (store_id := _store_of(manifest)):
                    gone = change["type"] == "DELETED"
                    mirror.put(
                        store_id,
                        manifest["metadata"]["uid"],
                        None if gone else digest(kind, manifest),
                    )
                    self._wake([store_id])


class Follow:
    """One step's view of one store."""

    def __init__(self, watching: Watching, store_id: str, event: asyncio.Event) -> None:
        self._watching = watching
        self._store_id = store_id
        self._event = event

    @property
    def trouble(self) -> StorefleetError | None:
        return self._watching.trouble

    @property
    def restored(self) -> float:
        return self._watching.restored

    def seen(self) -> Seen:
        """What there is now; changes from here on end the next `changed`."""
        self._event.clear()
        return self._watching.seen(self._store_id)

    async def changed(self, timeout: float) -> None:
        """Until something changes, or the time is up."""
        try:
            async with asyncio.timeout(timeout):
                await self._event.wait()
        except TimeoutError:
            return

    async def current(self, timeout: float) -> bool:
        """Whether the mirror is current, now or within the time."""
        deadline = time.monotonic() + timeout
        while self.trouble and (left := deadline - time.monotonic()) > 0:
            self._event.clear()
            await self.changed(min(left, 1))
        return self.trouble is None


class _Mirror:
    """Everything of one kind, by store and UID."""

    def __init__(self) -> None:
        self.version = ""  # of the newest thing seen; empty: a list is needed
        self.trouble: StorefleetError | None = RuntimeAway(
            "The cluster has not been looked at yet."
        )
        self.restored = -math.inf
        self._stores: dict[str, dict[str, Digest]] = {}
        self._was_current = False

    def of(self, store_id: str) -> Iterable[Digest]:
        return self._stores.get(store_id, {}).values()

    def replace(self, found: dict[str, dict[str, Digest]], version: str) -> None:
        """All of it anew, which is current again."""
        if self.trouble and self._was_current:
            self.restored = time.monotonic()
        self._stores, self._was_current = dict(found), True
        self.version, self.trouble = version, None

    def put(self, store_id: str, uid: str, known: Digest | None) -> None:
        objects = self._stores.setdefault(store_id, {})
        if known is None:
            objects.pop(uid, None)
        elif uid in objects or len(objects) < _OBJECTS_PER_STORE:
            objects[uid] = known
        if not objects:
            del self._stores[store_id]


def _store_of(manifest: Manifest) -> str | None:
    """The store that this belongs to; a label in a namespace that is not the store's proves nothing."""
    metadata = manifest["metadata"]
    store_id = metadata["labels"][resource_kinds.STORE]
    if is_id(store_id, STORE) and metadata.get("namespace") == resource_name(store_id):
        return str(store_id)
    return None
