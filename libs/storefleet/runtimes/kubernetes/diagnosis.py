"""From what there is of a store to a verdict: ready, on its way, or in trouble, with cause and next step.

Pure functions. Trouble may pass by itself, so each kind has a patience: it is certain when it has lasted that long.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from storefleet.runtimes.kubernetes import kinds
from storefleet.runtimes.kubernetes.digests import Container, Pod, Seen, Workload
from storefleet.runtimes.kubernetes.refusals import Refused, said

CRASHES = 3

_IMAGE = {"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"}
_IMAGE_FOR_CERTAIN = {"InvalidImageName", "ErrImageNeverPull"}
#: Nodes and controllers that have not caught up with the API server: this passes.
_CATCHING_UP = re.compile(r"failed to sync \w+ cache|service ?account \S+ not found|status unknown for quota")
_CONFIGURATION = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"}


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


def judge(seen: Seen, warnings: Sequence[Warned] = ()) -> Verdict:
    """What to make of it; trouble comes before waiting, since waiting for one thing must not hide another."""
    if not any(each.kind == kinds.DEPLOYMENT.name and each.component == "web" for each in seen.workloads):
        return Waiting("the objects of the chart to appear")
    unfinished = [each for each in seen.workloads if not _finished(each, seen)]
    trouble = [each for workload in unfinished for each in _troubles(workload, seen, warnings)]
    if trouble:
        return min(trouble, key=lambda each: each.patience)
    if unfinished:
        return Waiting("; ".join(sorted(_lacks(each, seen, warnings) for each in unfinished)))
    return Ready(_summary(seen))


def missing_pods(seen: Seen) -> bool:
    """Whether something has no pod, or one that does not begin: what its cause may be is only in warnings."""
    return any(not _finished(each, seen) and all(_silent(pod) for pod in seen.of(each)) for each in seen.workloads)


def _finished(workload: Workload, seen: Seen) -> bool:
    if workload.kind == kinds.JOB.name:  # its pod's end is seen about two seconds before the Job's own
        return workload.complete or any(pod.phase == "Succeeded" for pod in seen.of(workload))
    done = workload.updated >= workload.wanted and workload.ready >= workload.wanted
    return workload.current and done and not workload.leaving


# trouble --------------------------------------------------------------------------------------------------------------


def _troubles(workload: Workload, seen: Seen, warnings: Sequence[Warned]) -> Iterator[Trouble]:
    pods = seen.of(workload)
    if workload.failed:
        yield _given_up(workload, pods)
    words = workload.refused or _refusal_of(workload, warnings)
    if words and workload.wanted and not pods and not _CATCHING_UP.search(words):
        yield _refused(workload, words)
    for pod in pods:
        if pod.unschedulable:
            yield Trouble(
                "unschedulable",
                f"No node takes the pod {pod.name}: {pod.unschedulable}",
                "Add a node or make room, or choose a smaller plan; then retry.",
                40,
                pod.name,
            )
        for container in pod.containers:
            yield from _container_trouble(workload, pod, container)


def _given_up(workload: Workload, pods: Sequence[Pod]) -> Trouble:
    pod = max(pods, key=lambda each: each.phase == "Failed", default=None)
    container = next((each for each in pod.containers if each.ended), None) if pod else None
    where = (pod.name if pod else "", container.name if container else "")
    ended = f"; its last run: {container.ended}" if container else ""
    if workload.kind == kinds.JOB.name:
        return Trouble(
            "setup_failed",
            f"The Job {workload.name} has failed ({workload.failed}){ended}.",
            "Read its last lines, mend the cause, then retry; or delete the store.",
            0,
            *where,
        )
    return Trouble(
        "store_not_ready",
        f"The {workload.kind} {workload.name} makes no progress ({workload.failed}){ended}.",
        "Read the store's log, mend the cause, then retry; or delete the store.",
        0,
        *where,
    )


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
            if warned.reason == "FailedCreate" and (warned.kind, warned.name) == (workload.kind, workload.name)
        ),
        "",
    )


def _container_trouble(workload: Workload, pod: Pod, container: Container) -> Iterator[Trouble]:
    where, reason = f"the container {container.name} of the pod {pod.name}", container.waiting
    if reason in _IMAGE | _IMAGE_FOR_CERTAIN:
        yield Trouble(
            "image_missing",
            f"The image of {where} cannot be had ({reason}): {container.message}",
            "Make the image available to the nodes (name, tag, registry, access), then retry.",
            20 if reason in _IMAGE else 0,
            pod.name,
        )
    elif reason in _CONFIGURATION and not _CATCHING_UP.search(container.message):
        yield Trouble(
            "container_refused",
            f"The node cannot start {where} ({reason}): {container.message}",
            "Mend what is named in the engine's chart or image, then retry.",
            20,
            pod.name,
        )
    elif container.restarts >= CRASHES and not container.ready and workload.kind != kinds.JOB.name:
        yield Trouble(
            "store_crashes",
            f"It ended {container.restarts} times: {where}; the last time: {container.ended or 'unknown'}.",
            "Read its last lines, mend the cause, then retry; or delete the store.",
            0,
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
    if workload.failures and workload.kind == kinds.JOB.name:
        return f"the {what}, which has failed {workload.failures} time(s) and is tried again"
    doing = _doing(max(pods, key=_age), warnings)
    return f"the {what}{': ' if doing else ''}{doing}"


def _plain(workload: Workload) -> str:
    name = {"setup": "set-up", "": workload.name}.get(workload.component, workload.component)
    return f"{name} ({workload.kind})"


def _age(pod: Pod) -> tuple[bool, bool]:
    """Of several pods the one that is furthest tells most."""
    return (pod.phase == "Running", not pod.unschedulable)


def _doing(pod: Pod, warnings: Sequence[Warned]) -> str:
    for container in pod.containers:
        if container.restarts and not container.ready:
            return f"{container.name} has ended {container.restarts} time(s), {container.ended}"
    warned = next((w for w in reversed(warnings) if w.kind == kinds.POD.name and w.name == pod.name), None)
    told = f"; {warned.reason}: {warned.message}" if warned else ""
    if pod.unschedulable:
        return f"no node takes it yet: {pod.unschedulable}"
    if pod.reason:
        return f"{pod.phase}, {pod.reason}{told}"
    waiting = next((each for each in pod.containers if each.waiting not in ("", "PodInitializing")), None)
    if waiting is not None:
        return f"{_words(waiting.waiting)}{told}"
    if pod.phase == "Pending":
        return f"its pod is being placed{told}" if not pod.containers else f"its pod begins{told}"
    return f"it runs{told}" if told else ""


def _words(reason: str) -> str:
    return {"ContainerCreating": "its container is being made", "CrashLoopBackOff": "it crashed and waits"}.get(
        reason, reason
    )


def _silent(pod: Pod) -> bool:
    return pod.phase == "Pending" and all(each.waiting in ("", "ContainerCreating") for each in pod.containers)


def _summary(seen: Seen) -> str:
    running = sum(pod.ready for pod in seen.pods if not pod.leaving)
    return f"{running} pod{'s' if running != 1 else ''} ready"


# mending --------------------------------------------------------------------------------------------------------------


class Mends(NamedTuple):
    """What keeps an earlier attempt's trouble going, after its cause is gone."""

    jobs: tuple[Workload, ...]  # failed: they are made anew
    pods: tuple[Pod, ...]  # their next try is minutes away
    workloads: tuple[Workload, ...]  # their controller's next try is minutes away

    def __bool__(self) -> bool:
        return bool(self.jobs or self.pods or self.workloads)


def mends(seen: Seen) -> Mends:
    """What to take out of the way, or to wake, so that a retry begins at once."""
    jobs = tuple(each for each in seen.workloads if each.kind == kinds.JOB.name and each.failed and not each.leaving)
    stuck = tuple(pod for pod in seen.pods if not pod.leaving and not pod.ready and _is_stuck(pod))
    poor = tuple(
        each
        for each in seen.workloads
        if each not in jobs and each.wanted and not _finished(each, seen) and not seen.of(each)
    )
    return Mends(jobs, stuck, poor)


def _is_stuck(pod: Pod) -> bool:
    reasons = _IMAGE | _IMAGE_FOR_CERTAIN | _CONFIGURATION | {"CrashLoopBackOff"}
    return any(each.waiting in reasons or each.restarts for each in pod.containers)
