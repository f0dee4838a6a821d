"""Waits until a store runs as it is wanted now, or until it is certain that it will not."""

from typing import NamedTuple

from storefleet.core.errors import PermanentError
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.client import Cluster
from storefleet.runtimes.kubernetes.api.watcher import Follow, Watching
from storefleet.runtimes.kubernetes.manifests import Place
from storefleet.runtimes.kubernetes.pod_logs import Lines
from storefleet.runtimes.kubernetes.readiness import diagnosis, grace_periods
from storefleet.runtimes.kubernetes.readiness.diagnosis import (
    Ready,
    Trouble,
    Verdict,
    Waiting,
    Warned,
    judge,
    missing_pods,
)
from storefleet.runtimes.kubernetes.readiness.grace_periods import Limits, Patience
from storefleet.runtimes.kubernetes.readiness.snapshots import Seen
from storefleet.runtimes.kubernetes.readiness.warning_events import warned_of
from storefleet.runtimes.protocol import Outcome, Work


class Manner(NamedTuple):
    """How to wait.

    `fresh`: for what was written just now, which the mirror may not show yet; `tidy`: until nothing of what was before
    is left.
    """

    tolerance: diagnosis.Tolerance = diagnosis.AT_CREATION
    limits: Limits = grace_periods.AT_CREATION
    fresh: bool = False
    tidy: bool = False


CREATION = Manner()
CHANGE = Manner(diagnosis.IN_CHANGE, grace_periods.IN_CHANGE, fresh=True)
RETURN = Manner(diagnosis.AT_CREATION, grace_periods.AT_CREATION, fresh=True, tidy=True)
#: Until the last pod has gone that could still write into the database.
STOP = Manner(fresh=True, tidy=True)


class Starter:
    """Reads the mirror, and sleeps until something of the store changes."""

    def __init__(self, *, cluster: Cluster, watching: Watching, lines: Lines) -> None:
        self._cluster = cluster
        self._watching = watching
        self._lines = lines

    async def start(self, work: Work, place: Place, manner: Manner = CREATION) -> Outcome:
        with self._watching.following(work.store.id) as follow:
            wait = Patience(manner.limits)
            wanted = await self._wanted(work, place) if manner.fresh else {}
            while True:
                seen = follow.seen()
                verdict = _judged(
                    seen, await self._warnings(place, follow, seen, wait), manner, wanted
                )
                if follow.trouble:
                    wait.pause()
                    await work.say(f"Waiting for the cluster: {follow.trouble}")
                elif isinstance(verdict, Ready):
                    return Outcome(verdict.text)
                elif isinstance(verdict, Trouble) and wait.is_certain(
                    verdict, restored=follow.restored
                ):
                    raise await self._lines.explained(place.namespace, verdict)
                else:
                    await self._note(place, seen, wait, verdict)
                    if wait.is_steady():
                        await work.say(
                            f"Waiting for {verdict.text}"
                            if isinstance(verdict, Waiting)
                            else verdict.cause
                        )
                await follow.changed(1)

    async def _wanted(self, work: Work, place: Place) -> dict[str, int]:
        """What there is by now, as generations by UID: before the mirror has caught up with it, it shows what was."""
        labels = f"{resource_kinds.STORE}={work.store.id}"
        found = [
            each
            for kind in resource_kinds.WORKLOADS
            for each in await self._cluster.every(
                kind, namespace=place.namespace, labels=labels, metadata_only=True
            )
        ]
        return {
            each["metadata"]["uid"]: int(each["metadata"].get("generation") or 1) for each in found
        }

    async def _warnings(
        self, place: Place, follow: Follow, seen: Seen, wait: Patience
    ) -> tuple[Warned, ...]:
        """Events are read only while something has no pod and says nothing of itself."""
        if not missing_pods(seen):
            wait.forget_warnings()
        elif wait.wants_warnings() and not follow.trouble:
            wait.warnings = await warned_of(self._cluster, place.namespace)
        return wait.warnings

    async def _note(self, place: Place, seen: Seen, wait: Patience, verdict: Verdict) -> None:
        """Time goes by; when it was too much, what the new pod has to say of itself is told too."""
        if any(pod.component == "setup" and pod.phase == "Running" for pod in seen.pods):
            wait.excuse()
        try:
            wait.note(verdict)
        except PermanentError as error:
            raise await self._overdue(place, seen, error) from None

    async def _overdue(self, place: Place, seen: Seen, error: PermanentError) -> PermanentError:
        web = (
            pod
            for each in seen.workloads
            if each.component == "web"
            for pod in seen.of(each)
            if not pod.ready
        )
        pod = next(web, None)
        if pod is None:
            return error
        said = [
            each
            for each in await warned_of(self._cluster, place.namespace)
            if each.name == pod.name
        ]
        why = f" {said[-1].reason}: {said[-1].message}." if said else ""
        last = ""
        for container in pod.containers[:1]:
            last = await self._lines.last_words(place.namespace, pod.name, container.name)
        words = f" Last lines: {last}" if last else ""
        return PermanentError(error.code, f"{error.detail}{why}{words}", next_step=error.next_step)


def _judged(
    seen: Seen, warnings: tuple[Warned, ...], manner: Manner, wanted: dict[str, int]
) -> Verdict:
    if manner.fresh and not _is_fresh(seen, wanted):
        return Waiting("the cluster's news of what was changed")
    verdict = judge(seen, warnings, manner.tolerance)
    if manner.tidy and isinstance(verdict, Ready) and (left := seen.strays()):
        return Waiting(f"what is not wanted any more to go: {', '.join(left[:5])}")
    return verdict


def _is_fresh(seen: Seen, wanted: dict[str, int]) -> bool:
    """Whether the mirror shows what is wanted, or something newer, and nothing that has been taken away."""
    known = {each.uid: each for each in seen.workloads}
    there = all(
        uid in known and known[uid].generation >= generation for uid, generation in wanted.items()
    )
    return there and all(each.uid in wanted or each.leaving for each in known.values())
