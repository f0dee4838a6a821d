"""Brings a store's chart in by Helm: the one of its version, with its plan's values, over whatever is there."""

import asyncio
import time

from storefleet.core.errors import PermanentError, RuntimeAway, Wait
from storefleet.core.models import Store
from storefleet.core.settings import Settings
from storefleet.engines.catalogue import Engine, Engines
from storefleet.observability import logs
from storefleet.observability.failpoints import effect
from storefleet.runtimes.kubernetes import manifests
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.client import Cluster
from storefleet.runtimes.kubernetes.api.watcher import Watching
from storefleet.runtimes.kubernetes.manifests import Place, place_of
from storefleet.runtimes.kubernetes.releases import release_records
from storefleet.runtimes.kubernetes.releases.helm_process import Helm
from storefleet.runtimes.kubernetes.releases.stuck_resources import Mends, mends
from storefleet.runtimes.protocol import Outcome, Work

log = logs.get(__name__)

_MENDING = 30.0
NUDGED = "storefleet.dev/nudged-by"


class Installer:
    """Installs the release of a store, once per operation and content."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        helm: Helm,
        watching: Watching,
        engines: Engines,
        settings: Settings,
    ) -> None:
        self._cluster = cluster
        self._helm = helm
        self._watching = watching
        self._engines = engines
        self._settings = settings

    async def install(
        self, work: Work, *, database_image: str = "", abandons: bool = False
    ) -> Outcome:
        """`abandons` is for going back: what is stuck is of the version that goes, and goes with it."""
        engine, place = self.engine_of(work.store), place_of(work.store, self._settings)
        chart = engine.chart_of(work.store.engine_version)
        values = manifests.make_values(
            work.store, engine, place, self._settings, database_image=database_image
        )
        content = await asyncio.to_thread(release_records.content_of, chart, values)
        known = await release_records.records(self._cluster, place.namespace)
        if known and _is_done(known[-1], content, work):
            return Outcome("The release is there already")
        await self._mend(work, place, abandons=abandons)
        for record in known:
            if record.abandoned:
                await self._free(work, place, record)
        await work.check()
        with effect("helm_install"):
            await self._helm.install(
                chart=chart,
                namespace=place.namespace,
                values=values,
                labels={
                    release_records.CONTENT: content,
                    release_records.OPERATION: work.operation_id,
                },
            )
        return Outcome("The release is installed")

    def engine_of(self, store: Store) -> Engine:
        engine = self._engines.find(store.engine)
        if engine is None or engine.kubernetes is None or not engine.image(store.engine_version):
            raise PermanentError(
                "engine_unavailable",
                f"The engine {store.engine} {store.engine_version} does not run on the kubernetes runtime.",
                next_step="Choose another version, or delete the store and create it with another engine.",
            )
        return engine

    async def database_image(self, place: Place) -> str:
        """What the database runs from, and goes on to run from when the shop gets another version."""
        found = await self._cluster.get(
            resource_kinds.STATEFUL_SET, "database", namespace=place.namespace
        )
        containers = found["spec"]["template"]["spec"]["containers"] if found else ()
        return next((str(each["image"]) for each in containers if each["name"] == "database"), "")

    async def _free(self, work: Work, place: Place, record: release_records.Record) -> None:
        """A run of Helm ended in the middle; only we may work on this store, so it was not somebody else's."""
        await work.say(f"A run of Helm was interrupted ({record.status}); it is taken up again")
        await work.check()
        with effect("free_release"):
            await self._cluster.delete(
                resource_kinds.SECRET, record.name, uid=record.uid, namespace=place.namespace
            )
        log.warning(
            "release_freed",
            namespace=place.namespace,
            status=record.status,
            revision=record.revision,
        )

    async def _mend(self, work: Work, place: Place, *, abandons: bool) -> None:
        """What an earlier attempt left stuck is taken away or woken, or a retry would wait for its next turn."""
        with self._watching.following(work.store.id) as follow:
            if not await follow.current(_MENDING):
                raise follow.trouble or RuntimeAway("The cluster has not been looked at yet.")
            found = mends(follow.seen())
            found = Mends(found.jobs, (), ()) if abandons else found
            if not found:
                return
            await work.check()
            with effect("clear_stuck"):
                await self._clear(work, place, found)
            gone = {job.uid for job in found.jobs} | {pod.uid for pod in found.pods}
            deadline = time.monotonic() + _MENDING
            while left := follow.seen().names(gone):
                if time.monotonic() > deadline:
                    raise Wait(f"Still there from the last attempt: {', '.join(left)}.")
                await work.say(f"Waiting for what the last attempt left to go: {', '.join(left)}")
                await follow.changed(2)

    async def _clear(self, work: Work, place: Place, found: Mends) -> None:
        for job in found.jobs:
            await self._cluster.delete(
                resource_kinds.JOB, job.name, uid=job.uid, namespace=place.namespace
            )
        for pod in found.pods:
            await self._cluster.delete(
                resource_kinds.POD, pod.name, uid=pod.uid, namespace=place.namespace
            )
        change = {"metadata": {"annotations": {NUDGED: work.operation_id}}}
        for workload in found.workloads:
            kind = next(kind for kind in resource_kinds.WORKLOADS if kind.name == workload.kind)
            await self._cluster.patch(kind, workload.name, change, namespace=place.namespace)


def _is_done(last: release_records.Record, content: str, work: Work) -> bool:
    """Done by this very operation; a retry installs again, which repairs what was changed by hand since."""
    return (
        last.status == "deployed"
        and last.content == content
        and last.operation == work.operation_id
    )
