"""Make resource snapshots from objects of the Kubernetes API.

The watcher keeps one snapshot per object in memory, so texts and lists are cut to bounded sizes.
"""

from typing import Any

from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.resource_kinds import Manifest, ResourceKind
from storefleet.runtimes.kubernetes.readiness.snapshots import (
    ContainerSnapshot,
    PodSnapshot,
    ReplicaSetSnapshot,
    ResourceSnapshot,
    WorkloadSnapshot,
)

_MAX_TEXT_LENGTH = 400
_MAX_TERMINATION_MESSAGE_LENGTH = 4096
_MAX_CONTAINERS = 10


def make_snapshot(kind: ResourceKind, manifest: Manifest) -> ResourceSnapshot:
    """Reduce an object of a watched kind to its snapshot."""
    if kind is resource_kinds.POD:
        return _make_pod_snapshot(manifest)
    if kind is resource_kinds.REPLICA_SET:
        return _make_replica_set_snapshot(manifest)
    return _make_workload_snapshot(kind, manifest)


def _make_pod_snapshot(manifest: Manifest) -> PodSnapshot:
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    conditions = _index_conditions(status)
    scheduled = conditions.get("PodScheduled", {})
    is_unschedulable = (
        scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    )
    statuses = [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]
    is_task = bool(_read_task(metadata))
    return PodSnapshot(
        name=metadata["name"],
        uid=metadata["uid"],
        component=_read_component(metadata),
        owner_uid=_find_owner_uid(metadata),
        phase=status.get("phase", ""),
        is_terminating="deletionTimestamp" in metadata,
        is_ready=conditions.get("Ready", {}).get("status") == "True",
        unschedulable_reason=_shorten(scheduled.get("message")) if is_unschedulable else "",
        reason=_shorten(status.get("reason")),
        containers=tuple(
            _make_container_snapshot(each, is_task=is_task) for each in statuses[:_MAX_CONTAINERS]
        ),
    )


def _make_replica_set_snapshot(manifest: Manifest) -> ReplicaSetSnapshot:
    metadata = manifest["metadata"]
    return ReplicaSetSnapshot(metadata["uid"], _find_owner_uid(metadata), _read_revision(metadata))


def _make_container_snapshot(status: Manifest, *, is_task: bool) -> ContainerSnapshot:
    state, last_state = status.get("state") or {}, status.get("lastState") or {}
    waiting = state.get("waiting") or {}
    terminated = state.get("terminated") or last_state.get("terminated") or {}
    last_exit = ""
    if "exitCode" in terminated:
        last_exit = f"{terminated.get('reason') or 'ended'} (exit {terminated['exitCode']})"
    message = str(terminated.get("message") or "")[:_MAX_TERMINATION_MESSAGE_LENGTH]
    return ContainerSnapshot(
        name=status["name"],
        is_ready=bool(status.get("ready")),
        restarts=int(status.get("restartCount") or 0),
        waiting_reason=str(waiting.get("reason") or ""),
        waiting_message=_shorten(waiting.get("message")),
        last_exit=last_exit,
        termination_message=message if is_task else "",
    )


def _make_workload_snapshot(kind: ResourceKind, manifest: Manifest) -> WorkloadSnapshot:
    metadata, spec = manifest["metadata"], manifest.get("spec") or {}
    status = manifest.get("status") or {}
    conditions = _index_conditions(status)
    is_job = kind is resource_kinds.JOB
    wanted = int(spec.get("completions" if is_job else "replicas") or 1)
    observed_generation = int(status.get("observedGeneration") or 0)
    rejection = ""
    if _is_true(conditions, "ReplicaFailure"):
        rejection = _shorten(conditions["ReplicaFailure"].get("message"))
    return WorkloadSnapshot(
        kind=kind.name,
        name=metadata["name"],
        uid=metadata["uid"],
        component=_read_component(metadata),
        is_terminating="deletionTimestamp" in metadata,
        is_spec_observed=is_job or observed_generation >= int(metadata.get("generation") or 0),
        wanted_replicas=0 if spec.get("replicas") == 0 else wanted,
        updated_replicas=int(status.get("updatedReplicas") or 0),
        ready_replicas=int(status.get("readyReplicas") or 0),
        is_complete=is_job and _is_true(conditions, "Complete"),
        failure=_find_failure(conditions, is_job=is_job),
        rejection=rejection,
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
    """Return the revision of a Deployment or ReplicaSet; 0 until the controller has set it."""
    revision = str((metadata.get("annotations") or {}).get(resource_kinds.REVISION_ANNOTATION, ""))
    return int(revision) if revision.isascii() and revision.isdigit() else 0


def _find_owner_uid(metadata: Manifest) -> str:
    owners = metadata.get("ownerReferences") or ()
    return next((owner["uid"] for owner in owners if owner.get("controller")), "")


def _shorten(text: Any) -> str:
    return " ".join(str(text or "").split())[:_MAX_TEXT_LENGTH]
