"""Diagnose a store from its snapshot: ready, still starting, or with a problem and its cause.

Pure functions. Each problem has a grace period, because it may resolve itself; `grace_periods`
measures how long it has lasted. `problems` finds the problems, `progress_texts` describes what is
missing.
"""

from collections.abc import Sequence

from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.readiness.diagnosis_types import (
    CREATE_TOLERANCE,
    VERSION_CHANGE_TOLERANCE,
    Diagnosis,
    FailureTolerance,
    NotReady,
    ReadinessProblem,
    Ready,
    WarningEvent,
)
from storefleet.runtimes.kubernetes.readiness.problems import list_problems
from storefleet.runtimes.kubernetes.readiness.progress_texts import describe_missing, summarize_pods
from storefleet.runtimes.kubernetes.readiness.snapshots import (
    PodSnapshot,
    StoreSnapshot,
    WorkloadSnapshot,
)


def diagnose_store(
    snapshot: StoreSnapshot,
    warnings: Sequence[WarningEvent] = (),
    tolerance: FailureTolerance = CREATE_TOLERANCE,
) -> Diagnosis:
    """Diagnose the workloads of a store's release.

    A problem takes precedence over what is still starting, so that waiting for one workload does
    not hide the failure of another.

    Args:
        snapshot: The store's objects.
        warnings: Warning events of its namespace, oldest first.
        tolerance: Sets the grace periods of the problems.
    """
    if not any(_is_storefront(each) for each in snapshot.workloads):
        return NotReady("the objects of the chart to appear")
    workloads = [each for each in snapshot.workloads if not each.task]
    unfinished = _diagnose_workloads(workloads, snapshot, warnings, tolerance)
    return unfinished or Ready(summarize_pods(snapshot))


def diagnose_task(
    snapshot: StoreSnapshot, job_name: str, warnings: Sequence[WarningEvent] = ()
) -> Diagnosis:
    """Diagnose the Job of a task, which belongs to no release; `Ready` means that it completed."""
    jobs = [each for each in snapshot.workloads if each.task and each.name == job_name]
    if not jobs:
        return NotReady(f"the Job {job_name} to appear")
    unfinished = _diagnose_workloads(jobs, snapshot, warnings, VERSION_CHANGE_TOLERANCE)
    return unfinished or Ready(f"The Job {job_name} has completed")


def has_unexplained_wait(snapshot: StoreSnapshot, job_name: str = "") -> bool:
    """Return whether a workload has no pod, or only pods that have not started.

    The cause is then visible only in warning events, which cost a request.

    Args:
        snapshot: The store's objects.
        job_name: Limits the question to the Job of a task; by default all workloads of the release.
    """
    workloads = [
        each
        for each in snapshot.workloads
        if (each.name == job_name if job_name else not each.task)
    ]
    return any(
        not snapshot.is_finished(each) and all(map(_has_not_started, snapshot.list_pods(each)))
        for each in workloads
    )


def _diagnose_workloads(
    workloads: Sequence[WorkloadSnapshot],
    snapshot: StoreSnapshot,
    warnings: Sequence[WarningEvent],
    tolerance: FailureTolerance,
) -> NotReady | ReadinessProblem | None:
    unfinished = [each for each in workloads if not snapshot.is_finished(each)]
    problems: list[ReadinessProblem] = []
    for workload in unfinished:
        problems.extend(list_problems(workload, snapshot.list_pods(workload), warnings, tolerance))
    if problems:
        return min(problems, key=lambda problem: problem.grace_period_s)
    if unfinished:
        missing = sorted(describe_missing(each, snapshot, warnings) for each in unfinished)
        return NotReady("; ".join(missing))
    return None


def _is_storefront(workload: WorkloadSnapshot) -> bool:
    return workload.kind == resource_kinds.DEPLOYMENT.name and workload.component == "web"


def _has_not_started(pod: PodSnapshot) -> bool:
    return pod.phase == "Pending" and all(
        each.waiting_reason in ("", "ContainerCreating") for each in pod.containers
    )
