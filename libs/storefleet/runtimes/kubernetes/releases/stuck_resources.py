"""What an earlier attempt has left in the way: failed Jobs, and what waits long for its next try."""

from typing import NamedTuple

from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.readiness.diagnosis import (
    CONTAINER_START_REASONS,
    FINAL_IMAGE_REASONS,
    IMAGE_PULL_REASONS,
    is_finished,
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
    """What keeps an earlier attempt's trouble going, after its cause is gone."""

    jobs: tuple[WorkloadSnapshot, ...]  # failed: they are made anew
    pods: tuple[PodSnapshot, ...]  # their next try is minutes away
    workloads: tuple[WorkloadSnapshot, ...]  # their controller's next try is minutes away

    def __bool__(self) -> bool:
        return bool(self.jobs or self.pods or self.workloads)


def find_stuck_resources(snapshot: StoreSnapshot) -> StuckResources:
    """What to take out of the way, or to wake, so that a retry begins at once."""
    present = [each for each in snapshot.workloads if not each.is_terminating]
    jobs = tuple(
        each
        for each in present
        if each.kind == resource_kinds.JOB.name and (each.failure or each.task)
    )
    stuck = tuple(
        pod
        for pod in snapshot.pods
        if not pod.is_terminating and not pod.is_ready and _is_stuck(pod)
    )
    poor = tuple(
        each
        for each in snapshot.workloads
        if each not in jobs
        and each.wanted_replicas
        and not is_finished(each, snapshot)
        and not snapshot.list_pods(each)
    )
    return StuckResources(jobs, stuck, poor)


def _is_stuck(pod: PodSnapshot) -> bool:
    return any(each.waiting_reason in _STUCK_REASONS or each.restarts for each in pod.containers)
