"""What an earlier attempt has left in the way: failed Jobs, and what waits long for its next try."""

from typing import NamedTuple

from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.readiness.diagnosis import (
    CONFIGURATION,
    IMAGE,
    IMAGE_FOR_CERTAIN,
    finished,
)
from storefleet.runtimes.kubernetes.readiness.snapshots import Pod, Seen, Workload

_STUCK = IMAGE | IMAGE_FOR_CERTAIN | CONFIGURATION | {"CrashLoopBackOff"}


class Mends(NamedTuple):
    """What keeps an earlier attempt's trouble going, after its cause is gone."""

    jobs: tuple[Workload, ...]  # failed: they are made anew
    pods: tuple[Pod, ...]  # their next try is minutes away
    workloads: tuple[Workload, ...]  # their controller's next try is minutes away

    def __bool__(self) -> bool:
        return bool(self.jobs or self.pods or self.workloads)


def mends(seen: Seen) -> Mends:
    """What to take out of the way, or to wake, so that a retry begins at once."""
    present = [each for each in seen.workloads if not each.leaving]
    jobs = tuple(
        each
        for each in present
        if each.kind == resource_kinds.JOB.name and (each.failed or each.task)
    )
    stuck = tuple(pod for pod in seen.pods if not pod.leaving and not pod.ready and _is_stuck(pod))
    poor = tuple(
        each
        for each in seen.workloads
        if each not in jobs and each.wanted and not finished(each, seen) and not seen.of(each)
    )
    return Mends(jobs, stuck, poor)


def _is_stuck(pod: Pod) -> bool:
    return any(each.waiting in _STUCK or each.restarts for each in pod.containers)
