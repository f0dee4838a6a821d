"""Find the problems of a workload that is not ready: rejected, unschedulable, crashing, failed.

Pure functions, used by `diagnosis`.
"""

import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.api_errors import ApiRequestRejected, map_rejection_message
from storefleet.runtimes.kubernetes.readiness.diagnosis_types import (
    FailureTolerance,
    ReadinessProblem,
    WarningEvent,
)
from storefleet.runtimes.kubernetes.readiness.snapshots import (
    ContainerSnapshot,
    PodSnapshot,
    WorkloadSnapshot,
)

IMAGE_PULL_REASONS = {"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"}
FINAL_IMAGE_REASONS = {"InvalidImageName", "ErrImageNeverPull"}
CONTAINER_START_REASONS = {
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "StartError",
}
#: Nodes and controllers that lag behind the API server; these messages disappear by themselves.
_TRANSIENT_MESSAGES = re.compile(
    r"failed to sync \w+ cache|service ?account \S+ not found|status unknown for quota"
)
_REJECTION_GRACE_PERIOD_S = 15
_START_GRACE_PERIOD_S = 20


class LastExit(NamedTuple):
    """How a container ended: the end of a sentence, with the names of pod and container."""

    text: str = ""
    pod: str = ""
    container: str = ""


def list_problems(
    workload: WorkloadSnapshot,
    pods: Sequence[PodSnapshot],
    warnings: Sequence[WarningEvent],
    tolerance: FailureTolerance,
) -> Iterator[ReadinessProblem]:
    """List the problems of a workload that could become final.

    Args:
        workload: A workload that is not finished.
        pods: Its current pods.
        warnings: Warning events of the namespace, oldest first.
        tolerance: Sets the grace periods.

    Yields:
        Problems with a finite grace period; none for a workload that is terminating.
    """
    if not workload.is_terminating:
        for problem in _list_all_problems(workload, pods, warnings, tolerance):
            if problem.grace_period_s < math.inf:
                yield problem


def find_rejection(workload: WorkloadSnapshot, warnings: Sequence[WarningEvent]) -> str:
    """Return why the API server rejects a workload's pods; empty if it does not.

    A Deployment has a condition for it; for a StatefulSet and a Job it is only in an event.
    """
    if workload.rejection:
        return workload.rejection
    for warning in reversed(warnings):
        is_own = (warning.kind, warning.name) == (workload.kind, workload.name)
        if is_own and warning.reason == "FailedCreate":
            return warning.message
    return ""


def _list_all_problems(
    workload: WorkloadSnapshot,
    pods: Sequence[PodSnapshot],
    warnings: Sequence[WarningEvent],
    tolerance: FailureTolerance,
) -> Iterator[ReadinessProblem]:
    if workload.failure:
        yield _diagnose_failed_workload(workload, pods, tolerance)
    elif workload.failed_pods:
        yield _diagnose_failing_job(workload, pods, tolerance)
    rejection = find_rejection(workload, warnings)
    is_rejected = rejection and workload.wanted_replicas and not pods
    if is_rejected and not _TRANSIENT_MESSAGES.search(rejection):
        yield _diagnose_rejected_pods(workload, rejection)
    for pod in pods:
        if pod.unschedulable_reason:
            yield ReadinessProblem(
                "unschedulable",
                f"No node fits the pod {pod.name}: {pod.unschedulable_reason}",
                "Add a node, free resources or choose a smaller plan; then retry.",
                tolerance.scheduling_s,
                pod.name,
            )
        for container in pod.containers:
            yield from _diagnose_container(workload, pod, container, tolerance)


def _diagnose_failed_workload(
    workload: WorkloadSnapshot, pods: Sequence[PodSnapshot], tolerance: FailureTolerance
) -> ReadinessProblem:
    last_exit = _find_last_exit(pods)
    if workload.kind == resource_kinds.JOB.name:
        return _make_job_problem(workload, f"has failed ({workload.failure})", 0, last_exit)
    return ReadinessProblem(
        "store_not_ready",
        f"The {workload.kind} {workload.name} makes no progress ({workload.failure})"
        f"{last_exit.text}.",
        "Read the store's log, correct the cause, then retry; or delete the store.",
        tolerance.no_progress_s,
        last_exit.pod,
        last_exit.container,
    )


def _diagnose_failing_job(
    workload: WorkloadSnapshot, pods: Sequence[PodSnapshot], tolerance: FailureTolerance
) -> ReadinessProblem:
    """Diagnose a Job with failed pods that has not reached its backoff limit."""
    is_final = workload.failed_pods >= tolerance.max_job_failures
    grace_period_s = 0 if is_final else tolerance.first_job_failure_s
    failure = f"has failed {workload.failed_pods} time(s) so far"
    return _make_job_problem(workload, failure, grace_period_s, _find_last_exit(pods))


def _make_job_problem(
    workload: WorkloadSnapshot, failure: str, grace_period_s: float, last_exit: LastExit
) -> ReadinessProblem:
    cause = f"The Job {workload.name} {failure}{last_exit.text}."
    if workload.task:
        return ReadinessProblem(
            "task_failed",
            cause,
            "Read the log lines, correct the cause, then retry.",
            grace_period_s,
            last_exit.pod,
            last_exit.container,
        )
    return ReadinessProblem(
        "setup_failed",
        cause,
        "Read the log lines, correct the cause, then retry; or delete the store.",
        grace_period_s,
        last_exit.pod,
        last_exit.container,
    )


def _find_last_exit(pods: Sequence[PodSnapshot]) -> LastExit:
    """Find how a container of a failed pod ended; of any pod if none has failed."""
    pod = max(pods, key=lambda each: each.phase == "Failed", default=None)
    if pod is None:
        return LastExit()
    container = next((each for each in pod.containers if each.last_exit), None)
    if container is None:
        return LastExit(pod=pod.name)
    return LastExit(f"; its last run: {container.last_exit}", pod.name, container.name)


def _diagnose_rejected_pods(workload: WorkloadSnapshot, reason: str) -> ReadinessProblem:
    subject = f"The API server rejects the pods of the {workload.kind} {workload.name}"
    error = map_rejection_message(reason, subject=subject)
    if isinstance(error, ApiRequestRejected):
        return ReadinessProblem(
            error.code, error.detail, error.next_step, _REJECTION_GRACE_PERIOD_S
        )
    return ReadinessProblem(
        "pod_refused",
        f"{subject}: {reason}",
        "Correct what the message names, then retry.",
        _REJECTION_GRACE_PERIOD_S,
    )


def _diagnose_container(
    workload: WorkloadSnapshot,
    pod: PodSnapshot,
    container: ContainerSnapshot,
    tolerance: FailureTolerance,
) -> Iterator[ReadinessProblem]:
    name = f"the container {container.name} of the pod {pod.name}"
    reason, message = container.waiting_reason, container.waiting_message
    if reason in IMAGE_PULL_REASONS | FINAL_IMAGE_REASONS:
        yield ReadinessProblem(
            "image_missing",
            f"The image of {name} cannot be pulled ({reason}): {message}",
            "Make the image available to the nodes (name, tag, registry, credentials), then retry.",
            tolerance.image_pull_s if reason in IMAGE_PULL_REASONS else 0,
            pod.name,
        )
    elif reason in CONTAINER_START_REASONS and not _TRANSIENT_MESSAGES.search(message):
        yield ReadinessProblem(
            "container_refused",
            f"The node cannot start {name} ({reason}): {message}",
            "Correct what the message names in the engine's chart or image, then retry.",
            _START_GRACE_PERIOD_S,
            pod.name,
        )
    elif _is_crashing(workload, container):
        is_final = container.restarts >= tolerance.max_restarts and (
            bool(reason) or container.restarts >= 3
        )
        last_exit = container.last_exit or "unknown"
        yield ReadinessProblem(
            "store_crashes",
            f"The container {container.name} of the pod {pod.name} crashed {container.restarts}"
            f" times; the last exit: {last_exit}.",
            "Read the log lines, correct the cause, then retry; or delete the store.",
            0 if is_final else tolerance.first_crash_s,
            pod.name,
            container.name,
        )


def _is_crashing(workload: WorkloadSnapshot, container: ContainerSnapshot) -> bool:
    is_job = workload.kind == resource_kinds.JOB.name
    return bool(container.restarts) and not container.is_ready and not is_job
