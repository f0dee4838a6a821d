"""Find resources of a failed attempt that would delay a retry: failed Jobs, and objects in backoff.

Pure functions; `installer` deletes or wakes what they find.
"""

from typing import NamedTuple

from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.readiness.problems import (
    CONTAINER_START_REASONS,
    FINAL_IMAGE_REASONS,
    IMAGE_PULL_REASONS,
)
from storefleet.runtimes.kubernetes.readiness.snapshots import (
    PodSnapshot,
    StoreSnapshot,
    WorkloadSnapshot,
)

_STUCK_REASONS = (
    IMAGE_PULL_REASONS | FINAL_IMAGE_REASONS | CONTAINER_START_REASONS | {"CrashLoopBackOff"}
)


class StuckResources(NamedTuple):
    """Resources that keep a problem alive after its cause is gone.

    Attributes:
        jobs: Jobs that have failed, or whose next pod is delayed because some have failed, to be
            deleted; Helm creates them again. So no failure is remembered over a retry.
        pods: Pods whose next attempt is minutes away, to be deleted.
        workloads: Workloads without pods whose controller's next attempt is minutes away, to be
            woken by an annotation.
    """

    jobs: tuple[WorkloadSnapshot, ...]
    pods: tuple[PodSnapshot, ...]
    workloads: tuple[WorkloadSnapshot, ...]

    def __bool__(self) -> bool:
        return bool(self.jobs or self.pods or self.workloads)


def find_stuck_resources(snapshot: StoreSnapshot) -> StuckResources:
    """Find what to delete or wake so that a retry takes effect at once."""
    jobs = tuple(
        each
        for each in snapshot.workloads
        if not each.is_terminating
        and each.kind == resource_kinds.JOB.name
        and (each.failure or each.task or (each.failed_pods and not snapshot.is_finished(each)))
    )
    pods = tuple(
        pod
        for pod in snapshot.pods
        if not pod.is_terminating and not pod.is_ready and _is_stuck(pod)
    )
    workloads = tuple(
        each
        for each in snapshot.workloads
        if each not in jobs
        and each.wanted_replicas
        and not snapshot.is_finished(each)
        and not snapshot.list_pods(each)
    )
    return StuckResources(jobs, pods, workloads)


def _is_stuck(pod: PodSnapshot) -> bool:
    return any(each.waiting_reason in _STUCK_REASONS or each.restarts for each in pod.containers)
