"""From what there is of a store to a verdict: ready, on its way, or in trouble, with cause and next step.

Pure functions. Trouble may pass by itself, so each kind has a patience: it is certain when it has lasted that long.
"""

import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.api_errors import Refused, said
from storefleet.runtimes.kubernetes.readiness.snapshots import Container, Pod, Seen, Workload

IMAGE = {"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"}
IMAGE_FOR_CERTAIN = {"InvalidImageName", "ErrImageNeverPull"}
#: Nodes and controllers that have not caught up with the API server: this passes.
_CATCHING_UP = re.compile(
    r"failed to sync \w+ cache|service ?account \S+ not found|status unknown for quota"
)
CONFIGURATION = {
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "StartError",
}


class Tolerance(NamedTuple):
    """What may go wrong, and for how many seconds, before it is certain that it will not pass by itself."""

    image: float = 20
    node: float = 40  # none takes the pod
    restarts: int = 3  # of a container that waits for its next one
    first_crash: float = math.inf  # since the first end of a container that was to run on
    failures: int = 1_000_000  # of a Job, which ends by itself after as many as its own limit says
    first_failure: float = math.inf


AT_CREATION = Tolerance()
#: The version from before still serves: to give up too early costs little.
IN_CHANGE = Tolerance(image=15, node=25, restarts=2, first_crash=30, failures=3, first_failure=30)


class Warned(NamedTuple):
    """A warning that the cluster noted about an object."""

    kind: str
    name: str
    reason: str
    message: str


class Ready(NamedTuple):
    text: str


class Waiting(NamedTuple):
    text: str


class Trouble(NamedTuple):
    """`patience` in seconds; `container` is the one whose last lines tell more, of the pod."""

    code: str
    cause: str
    next_step: str
    patience: float
    pod: str = ""
    container: str = ""


Verdict = Ready | Waiting | Trouble


def judge(
    seen: Seen, warnings: Sequence[Warned] = (), tolerance: Tolerance = AT_CREATION
) -> Verdict:
    """What to make of it; trouble comes before waiting, since waiting for one thing must not hide another."""
    if not any(
        each.kind == resource_kinds.DEPLOYMENT.name and each.component == "web"
        for each in seen.workloads
    ):
        return Waiting("the objects of the chart to appear")
    workloads = [each for each in seen.workloads if not each.task]
    return _judge(workloads, seen, warnings, tolerance) or Ready(_summary(seen))


def judge_task(seen: Seen, name: str, warnings: Sequence[Warned] = ()) -> Verdict:
    """The same for one Job that belongs to no release."""
    job = [each for each in seen.workloads if each.task and each.name == name]
    if not job:
        return Waiting(f"the Job {name} to appear")
    return _judge(job, seen, warnings, IN_CHANGE) or Ready(f"{name} is complete")


def _judge(
    workloads: Sequence[Workload], seen: Seen, warnings: Sequence[Warned], tolerance: Tolerance
) -> Waiting | Trouble | None:
    unfinished = [each for each in workloads if not finished(each, seen)]
    found = [
        each for workload in unfinished for each in _troubles(workload, seen, warnings, tolerance)
    ]
    if trouble := min(found, key=lambda each: each.patience, default=None):
        return trouble
    if unfinished:
        return Waiting("; ".join(sorted(_lacks(each, seen, warnings) for each in unfinished)))
    return None


def missing_pods(seen: Seen, task: str = "") -> bool:
    """Whether something has no pod, or one that does not begin: what its cause may be is only in warnings.

    `task` names a Job that belongs to no release; without, all that belongs to it counts.
    """
    counted = [each for each in seen.workloads if (each.name == task if task else not each.task)]
    return any(
        not finished(each, seen) and all(_silent(pod) for pod in seen.of(each)) for each in counted
    )


def finished(workload: Workload, seen: Seen) -> bool:
    if (
        workload.kind == resource_kinds.JOB.name
    ):  # its pod's end is seen about two seconds before the Job's own
        return workload.complete or any(pod.phase == "Succeeded" for pod in seen.of(workload))
    done = workload.updated >= workload.wanted and workload.ready >= workload.wanted
    return workload.current and done and workload.total <= workload.wanted and not workload.leaving


# trouble --------------------------------------------------------------------------------------------------------------


def _troubles(
    workload: Workload, seen: Seen, warnings: Sequence[Warned], tolerance: Tolerance
) -> Iterator[Trouble]:
    """All that is wrong with something that is not finished, and may turn out not to pass by itself."""
    if not workload.leaving:  # what is on its way out has none
        found = _every_trouble(workload, seen.of(workload), warnings, tolerance)
        yield from (each for each in found if each.patience < math.inf)


def _every_trouble(
    workload: Workload, pods: Sequence[Pod], warnings: Sequence[Warned], tolerance: Tolerance
) -> Iterator[Trouble]:
    if workload.failed:
        yield _given_up(workload, pods)
    elif workload.failures:
        yield _failing(workload, pods, tolerance)
    words = workload.refused or _refusal_of(workload, warnings)
    if words and workload.wanted and not pods and not _CATCHING_UP.search(words):
        yield _refused(workload, words)
    for pod in pods:
        if pod.unschedulable:
            yield Trouble(
                "unschedulable",
                f"No node takes the pod {pod.name}: {pod.unschedulable}",
                "Add a node or make room, or choose a smaller plan; then retry.",
                tolerance.node,
                pod.name,
            )
        for container in pod.containers:
            yield from _container_trouble(workload, pod, container, tolerance)


def _given_up(workload: Workload, pods: Sequence[Pod]) -> Trouble:
    ended, *where = _last_end(pods)
    if workload.kind == resource_kinds.JOB.name:
        return _job_failed(workload, f"has failed ({workload.failed}){ended}", 0, where)
    return Trouble(
        "store_not_ready",
        f"The {workload.kind} {workload.name} makes no progress ({workload.failed}){ended}.",
        "Read the store's log, mend the cause, then retry; or delete the store.",
        0,
        *where,
    )


def _failing(workload: Workload, pods: Sequence[Pod], tolerance: Tolerance) -> Trouble:
    """A Job whose first tries have failed, while it has not given up itself."""
    ended, *where = _last_end(pods)
    patience = 0 if workload.failures >= tolerance.failures else tolerance.first_failure
    return _job_failed(
        workload, f"has failed {workload.failures} time(s) so far{ended}", patience, where
    )


def _job_failed(workload: Workload, how: str, patience: float, where: Sequence[str]) -> Trouble:
    cause, mend = f"The Job {workload.name} {how}.", "Read its last lines, mend the cause, then"
    if workload.task:
        return Trouble("task_failed", cause, f"{mend} try again.", patience, *where)
    return Trouble("setup_failed", cause, f"{mend} retry; or delete the store.", patience, *where)


def _last_end(pods: Sequence[Pod]) -> tuple[str, str, str]:
    """How a container of the pod that failed has ended; pod and container."""
    pod = max(pods, key=lambda each: each.phase == "Failed", default=None)
    container = next((each for each in pod.containers if each.ended), None) if pod else None
    ended = f"; its last run: {container.ended}" if container else ""
    return ended, pod.name if pod else "", container.name if container else ""


def _refused(workload: Workload, words: str) -> Trouble:
    what = f"The pods of the {workload.kind} {workload.name} are refused"
    known = said(words, what=what)
    if isinstance(known, Refused):
        return Trouble(known.code, known.detail, known.next_step, 15)
    return Trouble("pod_refused", f"{what}: {words}", "See what is named, mend it, then retry.", 15)


def _refusal_of(workload: Workload, warnings: Sequence[Warned]) -> str:
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


def _container_trouble(
    workload: Workload, pod: Pod, container: Container, tolerance: Tolerance
) -> Iterator[Trouble]:
    where, reason = f"the container {container.name} of the pod {pod.name}", container.waiting
    if reason in IMAGE | IMAGE_FOR_CERTAIN:
        yield Trouble(
            "image_missing",
            f"The image of {where} cannot be had ({reason}): {container.message}",
            "Make the image available to the nodes (name, tag, registry, access), then retry.",
            tolerance.image if reason in IMAGE else 0,
            pod.name,
        )
    elif reason in CONFIGURATION and not _CATCHING_UP.search(container.message):
        yield Trouble(
            "container_refused",
            f"The node cannot start {where} ({reason}): {container.message}",
            "Mend what is named in the engine's chart or image, then retry.",
            20,
            pod.name,
        )
    elif container.restarts and not container.ready and workload.kind != resource_kinds.JOB.name:
        certain = container.restarts >= tolerance.restarts and (
            bool(reason) or container.restarts >= 3
        )
        yield Trouble(
            "store_crashes",
            f"It ended {container.restarts} times: {where}; the last time: {container.ended or 'unknown'}.",
            "Read its last lines, mend the cause, then retry; or delete the store.",
            0 if certain else tolerance.first_crash,
            pod.name,
            container.name,
        )


# waiting --------------------------------------------------------------------------------------------------------------


def _lacks(workload: Workload, seen: Seen, warnings: Sequence[Warned]) -> str:
    what, pods = _plain(workload), seen.of(workload)
    if workload.leaving:
        return f"the old {what} to go"
    if not pods:
        words = workload.refused or _refusal_of(workload, warnings)
        return f"a pod for the {what}" + (f", which is refused so far: {words}" if words else "")
    if workload.failures and workload.kind == resource_kinds.JOB.name:
        return f"the {what}, which has failed {workload.failures} time(s) and is tried again"
    doing = _doing(max(pods, key=_age), warnings)
    return f"the {what}{': ' if doing else ''}{doing}"


def _plain(workload: Workload) -> str:
    name = workload.task or {"setup": "set-up", "": workload.name}.get(
        workload.component, workload.component
    )
    return f"{name} ({workload.kind})"


def _age(pod: Pod) -> tuple[bool, bool]:
    """Of several pods the one that is furthest tells most."""
    return (pod.phase == "Running", not pod.unschedulable)


def _doing(pod: Pod, warnings: Sequence[Warned]) -> str:
    for container in pod.containers:
        if container.restarts and not container.ready:
            return f"{container.name} has ended {container.restarts} time(s), {container.ended}"
    warned = next(
        (w for w in reversed(warnings) if w.kind == resource_kinds.POD.name and w.name == pod.name),
        None,
    )
    told = f"; {warned.reason}: {warned.message}" if warned else ""
    if pod.unschedulable:
        return f"no node takes it yet: {pod.unschedulable}"
    if pod.reason:
        return f"{pod.phase}, {pod.reason}{told}"
    waiting = next(
        (each for each in pod.containers if each.waiting not in ("", "PodInitializing")), None
    )
    if waiting is not None:
        return f"{_words(waiting.waiting)}{told}"
    if pod.phase == "Pending":
        return f"its pod is being placed{told}" if not pod.containers else f"its pod begins{told}"
    return f"it runs{told}" if told else ""


def _words(reason: str) -> str:
    return {
        "ContainerCreating": "its container is being made",
        "CrashLoopBackOff": "it crashed and waits",
    }.get(reason, reason)


def _silent(pod: Pod) -> bool:
    return pod.phase == "Pending" and all(
        each.waiting in ("", "ContainerCreating") for each in pod.containers
    )


def _summary(seen: Seen) -> str:
    running = sum(pod.ready for pod in seen.pods if not pod.leaving)
    return f"{running} pod{'s' if running != 1 else ''} ready"
