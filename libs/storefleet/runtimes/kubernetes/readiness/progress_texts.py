"""Describe what a starting store is waiting for; the texts complete “Waiting for …”.

Pure functions, used by `diagnosis`.
"""

from collections.abc import Sequence

from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.readiness.diagnosis_types import WarningEvent
from storefleet.runtimes.kubernetes.readiness.problems import find_rejection
from storefleet.runtimes.kubernetes.readiness.snapshots import (
    PodSnapshot,
    StoreSnapshot,
    WorkloadSnapshot,
)

_COMPONENT_NAMES = {"setup": "set-up"}
_WAITING_REASONS = {
    "ContainerCreating": "its container is being created",
    "CrashLoopBackOff": "its container crashed and restarts after a backoff",
}


def describe_missing(
    workload: WorkloadSnapshot, snapshot: StoreSnapshot, warnings: Sequence[WarningEvent]
) -> str:
    """Describe what is missing until a workload is finished."""
    name, pods = _describe_workload(workload), snapshot.list_pods(workload)
    if workload.is_terminating:
        return f"the deletion of the old {name}"
    if not pods:
        rejection = find_rejection(workload, warnings)
        suffix = f", which the API server rejects: {rejection}" if rejection else ""
        return f"a pod of the {name}{suffix}"
    if workload.failed_pods and workload.kind == resource_kinds.JOB.name:
        return f"the {name}, which has failed {workload.failed_pods} time(s) and is retried"
    progress = _describe_progress(max(pods, key=_rank_progress), warnings)
    return f"the {name}: {progress}" if progress else f"the {name}"


def summarize_pods(snapshot: StoreSnapshot) -> str:
    """Summarize how many pods of a store are ready."""
    ready = sum(pod.is_ready for pod in snapshot.pods if not pod.is_terminating)
    return f"{ready} pod{'s' if ready != 1 else ''} ready"


def _describe_workload(workload: WorkloadSnapshot) -> str:
    component = _COMPONENT_NAMES.get(workload.component, workload.component)
    return f"{workload.task or component or workload.name} ({workload.kind})"


def _rank_progress(pod: PodSnapshot) -> tuple[bool, bool]:
    """Rank pods of a workload; the most advanced one is described."""
    return (pod.phase == "Running", not pod.unschedulable_reason)


def _describe_progress(pod: PodSnapshot, warnings: Sequence[WarningEvent]) -> str:
    for container in pod.containers:
        if container.restarts and not container.is_ready:
            return f"{container.name} has ended {container.restarts} time(s), {container.last_exit}"
    warning = _describe_last_warning(pod, warnings)
    if pod.unschedulable_reason:
        return f"no node fits its pod yet: {pod.unschedulable_reason}"
    if pod.reason:
        return f"{pod.phase}, {pod.reason}{warning}"
    for container in pod.containers:
        if container.waiting_reason not in ("", "PodInitializing"):
            reason = container.waiting_reason
            return f"{_WAITING_REASONS.get(reason, reason)}{warning}"
    if pod.phase == "Pending":
        return f"its pod starts{warning}" if pod.containers else f"its pod is scheduled{warning}"
    return f"it runs{warning}" if warning else ""


def _describe_last_warning(pod: PodSnapshot, warnings: Sequence[WarningEvent]) -> str:
    for warning in reversed(warnings):
        if warning.kind == resource_kinds.POD.name and warning.name == pod.name:
            return f"; {warning.reason}: {warning.message}"
    return ""
