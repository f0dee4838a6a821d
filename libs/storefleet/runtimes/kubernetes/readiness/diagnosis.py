"""From what there is of a store to a verdict: ready, on its way, or in trouble, with cause and next step.

Pure functions. Trouble may pass by itself, so each kind has a patience: it is certain when it has lasted that long.
"""

import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.api_errors import ApiRequestRejected, map_rejection_message
from storefleet.runtimes.kubernetes.readiness.snapshots import (
    ContainerSnapshot,
    PodSnapshot,
    StoreSnapshot,
    WorkloadSnapshot,
)

IMAGE_PULL_REASONS = {"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"}
FINAL_IMAGE_REASONS = {"InvalidImageName", "ErrImageNeverPull"}
#: Nodes and controllers that have not caught up with the API server: this passes.
_TRANSIENT_MESSAGES = re.compile(
    r"failed to sync \w+ cache|service ?account \S+ not found|status unknown for quota"
)
CONTAINER_START_REASONS = {
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "StartError",
}


class FailureTolerance(NamedTuple):
    """What may go wrong, and for how many seconds, before it is certain that it will not pass by itself."""

    image_pull_s: float = 20
    scheduling_s: float = 40  # none takes the pod
    max_restarts: int = 3  # of a container that waits for its next one
    first_crash_s: float = math.inf  # since the first end of a container that was to run on
    max_job_failures: int = (
        1_000_000  # of a Job, which ends by itself after as many as its own limit says
    )
    first_job_failure_s: float = math.inf


CREATE_TOLERANCE = FailureTolerance()
#: The version from before still serves: to give up too early costs little.
VERSION_CHANGE_TOLERANCE = FailureTolerance(
    image_pull_s=15,
    scheduling_s=25,
    max_restarts=2,
    first_crash_s=30,
    max_job_failures=3,
    first_job_failure_s=30,
)


class WarningEvent(NamedTuple):
    """A warning that the cluster noted about an object."""

    kind: str
    name: str
    reason: str
    message: str


class Ready(NamedTuple):
    text: str


class NotReady(NamedTuple):
    text: str


class ReadinessProblem(NamedTuple):
    """`patience` in seconds; `container` is the one whose last lines tell more, of the pod."""

    code: str
    cause: str
    next_step: str
    grace_period_s: float
    pod: str = ""
    container: str = ""


Diagnosis = Ready | NotReady | ReadinessProblem


def diagnose_store(
    snapshot: StoreSnapshot,
    warnings: Sequence[WarningEvent] = (),
    tolerance: FailureTolerance = CREATE_TOLERANCE,
) -> Diagnosis:
    """What to make of it; trouble comes before waiting, since waiting for one thing must not hide another."""
    if not any(
        each.kind == resource_kinds.DEPLOYMENT.name and each.component == "web"
        for each in snapshot.workloads
    ):
        return NotReady("the objects of the chart to appear")
    workloads = [each for each in snapshot.workloads if not each.task]
    return _diagnose_workloads(workloads, snapshot, warnings, tolerance) or Ready(
        _summarize_pods(snapshot)
    )


def diagnose_task(
    snapshot: StoreSnapshot, job_name: str, warnings: Sequence[WarningEvent] = ()
) -> Diagnosis:
    """The same for one Job that belongs to no release."""
    job = [each for each in snapshot.workloads if each.task and each.name == job_name]
    if not job:
        return NotReady(f"the Job {job_name} to appear")
    return _diagnose_workloads(job, snapshot, warnings, VERSION_CHANGE_TOLERANCE) or Ready(
        f"{job_name} is complete"
    )


def _diagnose_workloads(
    workloads: Sequence[WorkloadSnapshot],
    snapshot: StoreSnapshot,
    warnings: Sequence[WarningEvent],
    tolerance: FailureTolerance,
) -> NotReady | ReadinessProblem | None:
    unfinished = [each for each in workloads if not is_finished(each, snapshot)]
    found = [
        each
        for workload in unfinished
        for each in _list_problems(workload, snapshot, warnings, tolerance)
    ]
    if trouble := min(found, key=lambda each: each.grace_period_s, default=None):
        return trouble
    if unfinished:
        return NotReady(
            "; ".join(sorted(_describe_missing(each, snapshot, warnings) for each in unfinished))
        )
    return None


def has_unexplained_wait(snapshot: StoreSnapshot, job_name: str = "") -> bool:
    """Whether something has no pod, or one that does not begin: what its cause may be is only in warnings.

    `task` names a Job that belongs to no release; without, all that belongs to it counts.
    """
    counted = [
        each
        for each in snapshot.workloads
        if (each.name == job_name if job_name else not each.task)
    ]
    return any(
        not is_finished(each, snapshot)
        and all(_has_not_started(pod) for pod in snapshot.list_pods(each))
        for each in counted
    )


def is_finished(workload: WorkloadSnapshot, snapshot: StoreSnapshot) -> bool:
    if (
        workload.kind == resource_kinds.JOB.name
    ):  # its pod's end is seen about two seconds before the Job's own
        return workload.is_complete or any(
            pod.phase == "Succeeded" for pod in snapshot.list_pods(workload)
        )
    done = (
        workload.updated_replicas >= workload.wanted_replicas
        and workload.ready_replicas >= workload.wanted_replicas
    )
    return (
        workload.is_spec_observed
        and done
        and workload.total_replicas <= workload.wanted_replicas
        and not workload.is_terminating
    )


# trouble --------------------------------------------------------------------------------------------------------------


def _list_problems(
    workload: WorkloadSnapshot,
    snapshot: StoreSnapshot,
    warnings: Sequence[WarningEvent],
    tolerance: FailureTolerance,
) -> Iterator[ReadinessProblem]:
    """All that is wrong with something that is not finished, and may turn out not to pass by itself."""
    if not workload.is_terminating:  # what is on its way out has none
        found = _list_all_problems(workload, snapshot.list_pods(workload), warnings, tolerance)
        yield from (each for each in found if each.grace_period_s < math.inf)


def _list_all_problems(
    workload: WorkloadSnapshot,
    pods: Sequence[PodSnapshot],
    warnings: Sequence[WarningEvent],
    tolerance: FailureTolerance,
) -> Iterator[ReadinessProblem]:
    if workload.failure:
        yield _diagnose_failed_workload(workload, pods)
    elif workload.failed_pods:
        yield _diagnose_failing_job(workload, pods, tolerance)
    words = workload.rejection or _find_rejection_event(workload, warnings)
    if words and workload.wanted_replicas and not pods and not _TRANSIENT_MESSAGES.search(words):
        yield _diagnose_rejected_pods(workload, words)
    for pod in pods:
        if pod.unschedulable_reason:
            yield ReadinessProblem(
                "unschedulable",
                f"No node takes the pod {pod.name}: {pod.unschedulable_reason}",
                "Add a node or make room, or choose a smaller plan; then retry.",
                tolerance.scheduling_s,
                pod.name,
            )
        for container in pod.containers:
            yield from _diagnose_container(workload, pod, container, tolerance)


def _diagnose_failed_workload(
    workload: WorkloadSnapshot, pods: Sequence[PodSnapshot]
) -> ReadinessProblem:
    ended, *where = _describe_last_exit(pods)
    if workload.kind == resource_kinds.JOB.name:
        return _make_job_problem(workload, f"has failed ({workload.failure}){ended}", 0, where)
    return ReadinessProblem(
        "store_not_ready",
        f"The {workload.kind} {workload.name} makes no progress ({workload.failure}){ended}.",
        "Read the store's log, mend the cause, then retry; or delete the store.",
        0,
        *where,
    )


def _diagnose_failing_job(
    workload: WorkloadSnapshot, pods: Sequence[PodSnapshot], tolerance: FailureTolerance
) -> ReadinessProblem:
    """A Job whose first tries have failed, while it has not given up itself."""
    ended, *where = _describe_last_exit(pods)
    patience = (
        0 if workload.failed_pods >= tolerance.max_job_failures else tolerance.first_job_failure_s
    )
    return _make_job_problem(
        workload, f"has failed {workload.failed_pods} time(s) so far{ended}", patience, where
    )


def _make_job_problem(
    workload: WorkloadSnapshot, failure: str, grace_period_s: float, container: Sequence[str]
) -> ReadinessProblem:
    cause, mend = f"The Job {workload.name} {failure}.", "Read its last lines, mend the cause, then"
    if workload.task:
        return ReadinessProblem(
            "task_failed", cause, f"{mend} try again.", grace_period_s, *container
        )
    return ReadinessProblem(
        "setup_failed", cause, f"{mend} retry; or delete the store.", grace_period_s, *container
    )


def _describe_last_exit(pods: Sequence[PodSnapshot]) -> tuple[str, str, str]:
    """How a container of the pod that failed has ended; pod and container."""
    pod = max(pods, key=lambda each: each.phase == "Failed", default=None)
    container = next((each for each in pod.containers if each.last_exit), None) if pod else None
    ended = f"; its last run: {container.last_exit}" if container else ""
    return ended, pod.name if pod else "", container.name if container else ""


def _diagnose_rejected_pods(workload: WorkloadSnapshot, reason: str) -> ReadinessProblem:
    what = f"The pods of the {workload.kind} {workload.name} are refused"
    known = map_rejection_message(reason, subject=what)
    if isinstance(known, ApiRequestRejected):
        return ReadinessProblem(known.code, known.detail, known.next_step, 15)
    return ReadinessProblem(
        "pod_refused", f"{what}: {reason}", "See what is named, mend it, then retry.", 15
    )


def _find_rejection_event(workload: WorkloadSnapshot, warnings: Sequence[WarningEvent]) -> str:
    """For a StatefulSet and a Job it is in no condition, only in an event."""
    return next(
        (
            warned.message
            for warned in reversed(warnings)
            if warned.reason == "FailedCreate"
            and (warned.kind, warned.name) == (workload.kind, workload.name)
        ),
        "",
    )


def _diagnose_container(
    workload: WorkloadSnapshot,
    pod: PodSnapshot,
    container: ContainerSnapshot,
    tolerance: FailureTolerance,
) -> Iterator[ReadinessProblem]:
    where, reason = (
        f"the container {container.name} of the pod {pod.name}",
        container.waiting_reason,
    )
    if reason in IMAGE_PULL_REASONS | FINAL_IMAGE_REASONS:
        yield ReadinessProblem(
            "image_missing",
            f"The image of {where} cannot be had ({reason}): {container.waiting_message}",
            "Make the image available to the nodes (name, tag, registry, access), then retry.",
            tolerance.image_pull_s if reason in IMAGE_PULL_REASONS else 0,
            pod.name,
        )
    elif reason in CONTAINER_START_REASONS and not _TRANSIENT_MESSAGES.search(
        container.waiting_message
    ):
        yield ReadinessProblem(
            "container_refused",
            f"The node cannot start {where} ({reason}): {container.waiting_message}",
            "Mend what is named in the engine's chart or image, then retry.",
            20,
            pod.name,
        )
    elif container.restarts and not container.is_ready and workload.kind != resource_kinds.JOB.name:
        certain = container.restarts >= tolerance.max_restarts and (
            bool(reason) or container.restarts >= 3
        )
        yield ReadinessProblem(
            "store_crashes",
            f"It ended {container.restarts} times: {where}; the last time: {container.last_exit or 'unknown'}.",
            "Read its last lines, mend the cause, then retry; or delete the store.",
            0 if certain else tolerance.first_crash_s,
            pod.name,
            container.name,
        )


# waiting --------------------------------------------------------------------------------------------------------------


def _describe_missing(
    workload: WorkloadSnapshot, snapshot: StoreSnapshot, warnings: Sequence[WarningEvent]
) -> str:
    what, pods = _describe_workload(workload), snapshot.list_pods(workload)
    if workload.is_terminating:
        return f"the old {what} to go"
    if not pods:
        words = workload.rejection or _find_rejection_event(workload, warnings)
        return f"a pod for the {what}" + (f", which is refused so far: {words}" if words else "")
    if workload.failed_pods and workload.kind == resource_kinds.JOB.name:
        return f"the {what}, which has failed {workload.failed_pods} time(s) and is tried again"
    doing = _describe_progress(max(pods, key=_rank_progress), warnings)
    return f"the {what}{': ' if doing else ''}{doing}"


def _describe_workload(workload: WorkloadSnapshot) -> str:
    name = workload.task or {"setup": "set-up", "": workload.name}.get(
        workload.component, workload.component
    )
    return f"{name} ({workload.kind})"


def _rank_progress(pod: PodSnapshot) -> tuple[bool, bool]:
    """Of several pods the one that is furthest tells most."""
    return (pod.phase == "Running", not pod.unschedulable_reason)


def _describe_progress(pod: PodSnapshot, warnings: Sequence[WarningEvent]) -> str:
    for container in pod.containers:
        if container.restarts and not container.is_ready:
            return f"{container.name} has ended {container.restarts} time(s), {container.last_exit}"
    warned = next(
        (w for w in reversed(warnings) if w.kind == resource_kinds.POD.name and w.name == pod.name),
        None,
    )
    told = f"; {warned.reason}: {warned.message}" if warned else ""
    if pod.unschedulable_reason:
        return f"no node takes it yet: {pod.unschedulable_reason}"
    if pod.reason:
        return f"{pod.phase}, {pod.reason}{told}"
    waiting = next(
        (each for each in pod.containers if each.waiting_reason not in ("", "PodInitializing")),
        None,
    )
    if waiting is not None:
        return f"{_describe_waiting_reason(waiting.waiting_reason)}{told}"
    if pod.phase == "Pending":
        return f"its pod is being placed{told}" if not pod.containers else f"its pod begins{told}"
    return f"it runs{told}" if told else ""


def _describe_waiting_reason(reason: str) -> str:
    return {
        "ContainerCreating": "its container is being made",
        "CrashLoopBackOff": "it crashed and waits",
    }.get(reason, reason)


def _has_not_started(pod: PodSnapshot) -> bool:
    return pod.phase == "Pending" and all(
        each.waiting_reason in ("", "ContainerCreating") for each in pod.containers
    )


def _summarize_pods(snapshot: StoreSnapshot) -> str:
    running = sum(pod.is_ready for pod in snapshot.pods if not pod.is_terminating)
    return f"{running} pod{'s' if running != 1 else ''} ready"
