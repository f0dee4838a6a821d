"""Objects of the cluster made small: what readiness and diagnosis need of them, and no more."""

from typing import Any, NamedTuple

from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.resource_kinds import Manifest, ResourceKind

_MAX_TEXT_LENGTH = 400
_MAX_TERMINATION_MESSAGE_LENGTH = 4096
_MAX_CONTAINERS = 10


class ContainerSnapshot(NamedTuple):
    name: str
    is_ready: bool
    restarts: int
    waiting_reason: str  # the reason, such as ImagePullBackOff; empty when it does not wait
    waiting_message: str
    last_exit: str  # why it ended the last time, such as “OOMKilled (exit 137)”
    termination_message: str = (
        ""  # what the container of a task has left as its termination message
    )


class PodSnapshot(NamedTuple):
    name: str
    uid: str
    component: str
    owner_uid: str  # UID of what made it
    phase: str
    is_terminating: bool
    is_ready: bool
    unschedulable_reason: str  # the scheduler's words
    reason: str  # of the pod as a whole, such as Evicted
    containers: tuple[ContainerSnapshot, ...]


class ReplicaSetSnapshot(NamedTuple):
    """The pods of one revision of a Deployment."""

    uid: str
    owner_uid: str  # UID of the Deployment
    revision: int


class WorkloadSnapshot(NamedTuple):
    """A Deployment, StatefulSet or Job."""

    kind: str
    name: str
    uid: str
    component: str
    is_terminating: bool
    is_spec_observed: bool  # the controller has seen what is wanted now
    wanted_replicas: int
    updated_replicas: int
    ready_replicas: int
    is_complete: bool
    failure: str  # a Job's reason and message, or that a Deployment makes no progress
    rejection: str  # why pods cannot be made
    failed_pods: int
    generation: int = 1  # of what is wanted
    total_replicas: int = 0  # pods of every revision that are not leaving
    revision: int = 0  # a Deployment's newest
    task: str = ""  # what a Job does that belongs to no release


ResourceSnapshot = PodSnapshot | WorkloadSnapshot | ReplicaSetSnapshot


class StoreSnapshot(NamedTuple):
    """What there is of a store at one moment."""

    pods: tuple[PodSnapshot, ...] = ()
    workloads: tuple[WorkloadSnapshot, ...] = ()
    replica_sets: tuple[ReplicaSetSnapshot, ...] = ()

    def list_names(self, uids: set[str]) -> list[str]:
        """Of those that are (still) there."""
        return [w.name for w in self.workloads if w.uid in uids] + [
            p.name for p in self.pods if p.uid in uids
        ]

    def list_pods(self, workload: WorkloadSnapshot) -> tuple[PodSnapshot, ...]:
        """Its pods that are to stay; of a Deployment those of its newest revision."""
        owners = self._find_owner_uids(workload)
        return tuple(
            pod
            for pod in self.pods
            if not pod.is_terminating
            and (pod.component == workload.component if owners is None else pod.owner_uid in owners)
        )

    def _find_owner_uids(self, workload: WorkloadSnapshot) -> set[str] | None:
        """UIDs of what makes its pods; None when that is not known, and their component has to do."""
        if workload.kind != resource_kinds.DEPLOYMENT.name:
            return {workload.uid}
        own = [each for each in self.replica_sets if each.owner_uid == workload.uid]
        if not own:
            return None
        return {
            each.uid
            for each in own
            if workload.is_spec_observed and each.revision == workload.revision
        }

    def list_stray_pods(self) -> list[str]:
        """Pods that are leaving, or that nothing of what there is wants any more, until they are gone."""
        known = {uid for each in self.workloads for uid in self._find_owner_uids(each) or ()}
        return [
            pod.name
            for pod in self.pods
            if pod.is_terminating or (pod.owner_uid and pod.owner_uid not in known)
        ]


def make_snapshot(kind: ResourceKind, manifest: Manifest) -> ResourceSnapshot:
    if kind is resource_kinds.POD:
        return _make_pod_snapshot(manifest)
    return (
        _make_replica_set_snapshot(manifest)
        if kind is resource_kinds.REPLICA_SET
        else _make_workload_snapshot(kind, manifest)
    )


def _make_pod_snapshot(manifest: Manifest) -> PodSnapshot:
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    conditions = _index_conditions(status)
    scheduled = conditions.get("PodScheduled", {})
    stuck = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    statuses = [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]
    return PodSnapshot(
        name=metadata["name"],
        uid=metadata["uid"],
        component=_read_component(metadata),
        owner_uid=_find_owner_uid(metadata),
        phase=status.get("phase", ""),
        is_terminating="deletionTimestamp" in metadata,
        is_ready=conditions.get("Ready", {}).get("status") == "True",
        unschedulable_reason=_shorten(scheduled.get("message")) if stuck else "",
        reason=_shorten(status.get("reason")),
        containers=tuple(
            _make_container_snapshot(each, is_task=bool(_read_task(metadata)))
            for each in statuses[:_MAX_CONTAINERS]
        ),
    )


def _make_replica_set_snapshot(manifest: Manifest) -> ReplicaSetSnapshot:
    metadata = manifest["metadata"]
    return ReplicaSetSnapshot(metadata["uid"], _find_owner_uid(metadata), _read_revision(metadata))


def _make_container_snapshot(status: Manifest, *, is_task: bool) -> ContainerSnapshot:
    waiting = (status.get("state") or {}).get("waiting") or {}
    ended = (
        (status.get("state") or {}).get("terminated")
        or (status.get("lastState") or {}).get("terminated")
        or {}
    )
    return ContainerSnapshot(
        name=status["name"],
        is_ready=bool(status.get("ready")),
        restarts=int(status.get("restartCount") or 0),
        waiting_reason=str(waiting.get("reason") or ""),
        waiting_message=_shorten(waiting.get("message")),
        last_exit=f"{ended.get('reason') or 'ended'} (exit {ended['exitCode']})"
        if "exitCode" in ended
        else "",
        termination_message=str(ended.get("message") or "")[:_MAX_TERMINATION_MESSAGE_LENGTH]
        if is_task
        else "",
    )


def _make_workload_snapshot(kind: ResourceKind, manifest: Manifest) -> WorkloadSnapshot:
    metadata, spec = manifest["metadata"], manifest.get("spec") or {}
    status = manifest.get("status") or {}
    conditions = _index_conditions(status)
    job = kind is resource_kinds.JOB
    wanted = int(spec.get("completions" if job else "replicas") or 1)
    return WorkloadSnapshot(
        kind=kind.name,
        name=metadata["name"],
        uid=metadata["uid"],
        component=_read_component(metadata),
        is_terminating="deletionTimestamp" in metadata,
        is_spec_observed=job
        or int(status.get("observedGeneration") or 0) >= int(metadata.get("generation") or 0),
        wanted_replicas=0 if spec.get("replicas") == 0 else wanted,
        updated_replicas=int(status.get("updatedReplicas") or 0),
        ready_replicas=int(status.get("readyReplicas") or 0),
        is_complete=job and _is_true(conditions, "Complete"),
        failure=_find_failure(conditions, is_job=job),
        rejection=_shorten(conditions["ReplicaFailure"].get("message"))
        if _is_true(conditions, "ReplicaFailure")
        else "",
        failed_pods=int(status.get("failed") or 0),
        generation=int(metadata.get("generation") or 1),
        total_replicas=int(status.get("replicas") or 0),
        revision=_read_revision(metadata),
        task=_read_task(metadata),
    )


def _find_failure(conditions: dict[str, Manifest], *, is_job: bool) -> str:
    if is_job and (_is_true(conditions, "Failed") or _is_true(conditions, "FailureTarget")):
        failed = conditions.get("Failed") or conditions["FailureTarget"]
        return _shorten(f"{failed.get('reason')}: {failed.get('message')}")
    progressing = conditions.get("Progressing", {})
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return _shorten(f"ProgressDeadlineExceeded: {progressing.get('message')}")
    return ""


def _index_conditions(status: Manifest) -> dict[str, Manifest]:
    return {condition["type"]: condition for condition in status.get("conditions") or ()}


def _is_true(conditions: dict[str, Manifest], name: str) -> bool:
    return bool(conditions.get(name, {}).get("status") == "True")


def _read_component(metadata: Manifest) -> str:
    return str((metadata.get("labels") or {}).get(resource_kinds.COMPONENT_LABEL, ""))


def _read_task(metadata: Manifest) -> str:
    return str((metadata.get("labels") or {}).get(resource_kinds.TASK_LABEL, ""))


def _read_revision(metadata: Manifest) -> int:
    """Which one of a Deployment it is; 0 before its controller has said."""
    told = str((metadata.get("annotations") or {}).get(resource_kinds.REVISION_ANNOTATION, ""))
    return int(told) if told.isascii() and told.isdigit() else 0


def _find_owner_uid(metadata: Manifest) -> str:
    return next(
        (
            owner["uid"]
            for owner in metadata.get("ownerReferences") or ()
            if owner.get("controller")
        ),
        "",
    )


def _shorten(text: Any) -> str:
    return " ".join(str(text or "").split())[:_MAX_TEXT_LENGTH]
