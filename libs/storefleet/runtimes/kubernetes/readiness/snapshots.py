"""Objects of the cluster made small: what readiness and diagnosis need of them, and no more."""

from typing import Any, NamedTuple

from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.resource_kinds import Kind, Manifest

_TEXT = 400
_ANSWER = 4096
_CONTAINERS = 10


class Container(NamedTuple):
    name: str
    ready: bool
    restarts: int
    waiting: str  # the reason, such as ImagePullBackOff; empty when it does not wait
    message: str
    ended: str  # why it ended the last time, such as “OOMKilled (exit 137)”
    answer: str = ""  # what the container of a task has left as its termination message


class Pod(NamedTuple):
    name: str
    uid: str
    component: str
    owner: str  # UID of what made it
    phase: str
    leaving: bool
    ready: bool
    unschedulable: str  # the scheduler's words
    reason: str  # of the pod as a whole, such as Evicted
    containers: tuple[Container, ...]


class ReplicaSet(NamedTuple):
    """The pods of one revision of a Deployment."""

    uid: str
    owner: str  # UID of the Deployment
    revision: int


class Workload(NamedTuple):
    """A Deployment, StatefulSet or Job."""

    kind: str
    name: str
    uid: str
    component: str
    leaving: bool
    current: bool  # the controller has seen what is wanted now
    wanted: int
    updated: int
    ready: int
    complete: bool
    failed: str  # a Job's reason and message, or that a Deployment makes no progress
    refused: str  # why pods cannot be made
    failures: int
    generation: int = 1  # of what is wanted
    total: int = 0  # pods of every revision that are not leaving
    revision: int = 0  # a Deployment's newest
    task: str = ""  # what a Job does that belongs to no release


Digest = Pod | Workload | ReplicaSet


class Seen(NamedTuple):
    """What there is of a store at one moment."""

    pods: tuple[Pod, ...] = ()
    workloads: tuple[Workload, ...] = ()
    replica_sets: tuple[ReplicaSet, ...] = ()

    def names(self, uids: set[str]) -> list[str]:
        """Of those that are (still) there."""
        return [w.name for w in self.workloads if w.uid in uids] + [
            p.name for p in self.pods if p.uid in uids
        ]

    def of(self, workload: Workload) -> tuple[Pod, ...]:
        """Its pods that are to stay; of a Deployment those of its newest revision."""
        owners = self._owners(workload)
        return tuple(
            pod
            for pod in self.pods
            if not pod.leaving
            and (pod.component == workload.component if owners is None else pod.owner in owners)
        )

    def _owners(self, workload: Workload) -> set[str] | None:
        """UIDs of what makes its pods; None when that is not known, and their component has to do."""
        if workload.kind != resource_kinds.DEPLOYMENT.name:
            return {workload.uid}
        own = [each for each in self.replica_sets if each.owner == workload.uid]
        if not own:
            return None
        return {each.uid for each in own if workload.current and each.revision == workload.revision}

    def strays(self) -> list[str]:
        """Pods that are leaving, or that nothing of what there is wants any more, until they are gone."""
        known = {uid for each in self.workloads for uid in self._owners(each) or ()}
        return [
            pod.name for pod in self.pods if pod.leaving or (pod.owner and pod.owner not in known)
        ]


def digest(kind: Kind, manifest: Manifest) -> Digest:
    if kind is resource_kinds.POD:
        return _pod(manifest)
    return (
        _replica_set(manifest) if kind is resource_kinds.REPLICA_SET else _workload(kind, manifest)
    )


def _pod(manifest: Manifest) -> Pod:
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    conditions = _conditions(status)
    scheduled = conditions.get("PodScheduled", {})
    stuck = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    statuses = [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        component=_component(metadata),
        owner=_owner(metadata),
        phase=status.get("phase", ""),
        leaving="deletionTimestamp" in metadata,
        ready=conditions.get("Ready", {}).get("status") == "True",
        unschedulable=_short(scheduled.get("message")) if stuck else "",
        reason=_short(status.get("reason")),
        containers=tuple(
            _container(each, answers=bool(_task(metadata))) for each in statuses[:_CONTAINERS]
        ),
    )


def _replica_set(manifest: Manifest) -> ReplicaSet:
    metadata = manifest["metadata"]
    return ReplicaSet(metadata["uid"], _owner(metadata), _revision(metadata))


def _container(status: Manifest, *, answers: bool) -> Container:
    waiting = (status.get("state") or {}).get("waiting") or {}
    ended = (
        (status.get("state") or {}).get("terminated")
        or (status.get("lastState") or {}).get("terminated")
        or {}
    )
    return Container(
        name=status["name"],
        ready=bool(status.get("ready")),
        restarts=int(status.get("restartCount") or 0),
        waiting=str(waiting.get("reason") or ""),
        message=_short(waiting.get("message")),
        ended=f"{ended.get('reason') or 'ended'} (exit {ended['exitCode']})"
        if "exitCode" in ended
        else "",
        answer=str(ended.get("message") or "")[:_ANSWER] if answers else "",
    )


def _workload(kind: Kind, manifest: Manifest) -> Workload:
    metadata, spec = manifest["metadata"], manifest.get("spec") or {}
    status = manifest.get("status") or {}
    conditions = _conditions(status)
    job = kind is resource_kinds.JOB
    wanted = int(spec.get("completions" if job else "replicas") or 1)
    return Workload(
        kind=kind.name,
        name=metadata["name"],
        uid=metadata["uid"],
        component=_component(metadata),
        leaving="deletionTimestamp" in metadata,
        current=job
        or int(status.get("observedGeneration") or 0) >= int(metadata.get("generation") or 0),
        wanted=0 if spec.get("replicas") == 0 else wanted,
        updated=int(status.get("updatedReplicas") or 0),
        ready=int(status.get("readyReplicas") or 0),
        complete=job and _true(conditions, "Complete"),
        failed=_failure(conditions, job=job),
        refused=_short(conditions["ReplicaFailure"].get("message"))
        if _true(conditions, "ReplicaFailure")
        else "",
        failures=int(status.get("failed") or 0),
        generation=int(metadata.get("generation") or 1),
        total=int(status.get("replicas") or 0),
        revision=_revision(metadata),
        task=_task(metadata),
    )


def _failure(conditions: dict[str, Manifest], *, job: bool) -> str:
    if job and (_true(conditions, "Failed") or _true(conditions, "FailureTarget")):
        failed = conditions.get("Failed") or conditions["FailureTarget"]
        return _short(f"{failed.get('reason')}: {failed.get('message')}")
    progressing = conditions.get("Progressing", {})
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return _short(f"ProgressDeadlineExceeded: {progressing.get('message')}")
    return ""


def _conditions(status: Manifest) -> dict[str, Manifest]:
    return {condition["type"]: condition for condition in status.get("conditions") or ()}


def _true(conditions: dict[str, Manifest], name: str) -> bool:
    return bool(conditions.get(name, {}).get("status") == "True")


def _component(metadata: Manifest) -> str:
    return str((metadata.get("labels") or {}).get(resource_kinds.COMPONENT, ""))


def _task(metadata: Manifest) -> str:
    return str((metadata.get("labels") or {}).get(resource_kinds.TASK, ""))


def _revision(metadata: Manifest) -> int:
    """Which one of a Deployment it is; 0 before its controller has said."""
    told = str((metadata.get("annotations") or {}).get(resource_kinds.REVISION, ""))
    return int(told) if told.isascii() and told.isdigit() else 0


def _owner(metadata: Manifest) -> str:
    return next(
        (
            owner["uid"]
            for owner in metadata.get("ownerReferences") or ()
            if owner.get("controller")
        ),
        "",
    )


def _short(text: Any) -> str:
    return " ".join(str(text or "").split())[:_TEXT]
