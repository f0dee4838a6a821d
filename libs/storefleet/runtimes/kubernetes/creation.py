"""Makes a store: the ground, the Helm release, the wait for it, the proof; each step goes on from what is there."""

import asyncio
import time

from storefleet import logs
from storefleet.engines import Engine, Engines
from storefleet.errors import PermanentError, RuntimeAway, StorefleetError, Wait
from storefleet.failpoints import effect
from storefleet.models import Store
from storefleet.runtimes.base import Address, Outcome, Work
from storefleet.runtimes.kubernetes import kinds, manifests, releases
from storefleet.runtimes.kubernetes.cluster import Cluster
from storefleet.runtimes.kubernetes.diagnosis import Mends, Ready, Trouble, Waiting, Warned, judge, mends, missing_pods
from storefleet.runtimes.kubernetes.ground import Ground
from storefleet.runtimes.kubernetes.helm import Helm
from storefleet.runtimes.kubernetes.kinds import Manifest
from storefleet.runtimes.kubernetes.lines import Lines
from storefleet.runtimes.kubernetes.manifests import Place, place_of
from storefleet.runtimes.kubernetes.patience import Patience
from storefleet.runtimes.kubernetes.watching import Follow, Watching
from storefleet.runtimes.proof import Visitor
from storefleet.settings import Settings

log = logs.get(__name__)

_MENDING = 30.0
NUDGED = "storefleet.dev/nudged-by"


class Creation:
    """The steps of one creation after the other, for all stores of a process."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        helm: Helm,
        watching: Watching,
        visitor: Visitor,
        lines: Lines,
        engines: Engines,
        settings: Settings,
    ) -> None:
        self._cluster = cluster
        self._helm = helm
        self._watching = watching
        self._visitor = visitor
        self._lines = lines
        self._engines = engines
        self._settings = settings
        self._ground = Ground(cluster=cluster, settings=settings)

    async def namespace(self, work: Work) -> Outcome:
        engine, place = self._engine(work.store), self._place(work.store)
        await self._ground.lay(work, engine, place)
        return Outcome(f"Namespace {place.namespace}")

    # the release ----------------------------------------------------------------------------------------------------

    async def release(self, work: Work) -> Outcome:
        engine, place = self._engine(work.store), self._place(work.store)
        assert engine.kubernetes is not None  # noqa: S101 - `_engine` has looked
        chart = (engine.folder / engine.kubernetes.chart).resolve()
        values = manifests.make_values(work.store, engine, place, self._settings)
        content = await asyncio.to_thread(releases.content_of, chart, values)
        known = await releases.records(self._cluster, place.namespace)
        if known and self._is_done(known[-1], content, work):
            return Outcome("The release is there already")
        await self._mend(work, place)
        for record in known:
            if record.abandoned:
                await self._free(work, place, record)
        await work.check()
        with effect("helm_install"):
            await self._helm.install(
                chart=chart,
                namespace=place.namespace,
                values=values,
                labels={releases.CONTENT: content, releases.OPERATION: work.operation_id},
            )
        return Outcome("The release is installed")

    def _is_done(self, last: releases.Record, content: str, work: Work) -> bool:
        """Done by this very operation; a retry installs again, which repairs what was changed by hand since."""
        return last.status == "deployed" and last.content == content and last.operation == work.operation_id

    async def _free(self, work: Work, place: Place, record: releases.Record) -> None:
        """A run of Helm ended in the middle; only we may work on this store, so it was not somebody else's."""
        await work.say(f"A run of Helm was interrupted ({record.status}); it is taken up again")
        await work.check()
        with effect("free_release"):
            await self._cluster.delete(kinds.SECRET, record.name, uid=record.uid, namespace=place.namespace)
        log.warning("release_freed", namespace=place.namespace, status=record.status, revision=record.revision)

    async def _mend(self, work: Work, place: Place) -> None:
        """What an earlier attempt left stuck is taken away or woken, or a retry would wait for its next turn."""
        with self._watching.following(work.store.id) as follow:
            if not await follow.current(_MENDING):
                raise _not_current(follow)
            found = mends(follow.seen())
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
            await self._cluster.delete(kinds.JOB, job.name, uid=job.uid, namespace=place.namespace)
        for pod in found.pods:
            await self._cluster.delete(kinds.POD, pod.name, uid=pod.uid, namespace=place.namespace)
        change = {"metadata": {"annotations": {NUDGED: work.operation_id}}}
        for workload in found.workloads:
            kind = next(kind for kind in kinds.WORKLOADS if kind.name == workload.kind)
            await self._cluster.patch(kind, workload.name, change, namespace=place.namespace)

    # the wait -------------------------------------------------------------------------------------------------------

    async def start(self, work: Work) -> Outcome:
        place = self._place(work.store)
        with self._watching.following(work.store.id) as follow:
            wait = Patience()
            while True:
                verdict = judge(follow.seen(), await self._warnings(place, follow, wait))
                if follow.trouble:
                    wait.pause()
                    await work.say(f"Waiting for the cluster: {follow.trouble}")
                elif isinstance(verdict, Ready):
                    return Outcome(verdict.text)
                elif isinstance(verdict, Trouble) and wait.is_certain(verdict, restored=follow.restored):
                    raise await self._failed(place, verdict)
                else:
                    wait.note(verdict)
                    if wait.is_steady():
                        await work.say(f"Waiting for {verdict.text}" if isinstance(verdict, Waiting) else verdict.cause)
                await follow.changed(1)

    async def _warnings(self, place: Place, follow: Follow, wait: Patience) -> tuple[Warned, ...]:
        """Events are read only while something has no pod and says nothing of itself."""
        if not missing_pods(follow.seen()):
            wait.forget_warnings()
        elif wait.wants_warnings() and not follow.trouble:
            events = await self._cluster.every(kinds.EVENT, namespace=place.namespace, fields="type=Warning")
            wait.warnings = tuple(_warned(each) for each in sorted(events, key=_when)[-50:])
        return wait.warnings

    async def _failed(self, place: Place, trouble: Trouble) -> PermanentError:
        last = ""
        if trouble.pod and trouble.container:
            last = await self._lines.last_words(place.namespace, trouble.pod, trouble.container)
        detail = f"{trouble.cause} Last lines: {last}" if last else trouble.cause
        return PermanentError(trouble.code, detail, next_step=trouble.next_step)

    # the proof ------------------------------------------------------------------------------------------------------

    async def prove(self, work: Work) -> Outcome:
        engine, place = self._engine(work.store), self._place(work.store)
        service = await self._cluster.get(kinds.SERVICE, "web", namespace=place.namespace)
        address = str(((service or {}).get("spec") or {}).get("clusterIP") or "None")
        if address == "None":
            raise PermanentError(
                "chart_invalid",
                "The chart made no Service “web” with an address in the cluster.",
                next_step="Correct the engine's chart, then retry.",
            )
        server = f"http://[{address}]:80" if ":" in address else f"http://{address}:80"
        await self._visitor.prove(work, engine, server=server, host=place.authority)
        found = Address(place.url, place.url.rstrip("/") + engine.admin.path)
        return Outcome("The storefront shows its products, the admin sign-in answers", found)

    # shared ---------------------------------------------------------------------------------------------------------

    def _place(self, store: Store) -> Place:
        return place_of(store, self._settings)

    def _engine(self, store: Store) -> Engine:
        engine = self._engines.find(store.engine)
        if engine is None or engine.kubernetes is None or engine.image(store.engine_version) is None:
            raise PermanentError(
                "engine_unavailable",
                f"The engine {store.engine} {store.engine_version} does not run on the kubernetes runtime.",
                next_step="Delete the store and create it with another engine.",
            )
        return engine


def _not_current(follow: Follow) -> StorefleetError:
    return follow.trouble or RuntimeAway("The cluster has not been looked at yet.")


def _warned(event: Manifest) -> Warned:
    about = event.get("involvedObject") or {}
    message = " ".join(str(event.get("message") or "").split())[:400]
    return Warned(about.get("kind", ""), about.get("name", ""), event.get("reason", ""), message)


def _when(event: Manifest) -> str:
    """When it happened last; events tell it in one of three places."""
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or "")
