"""What is made of what there is: digests of the API's objects, verdicts, and how long a trouble may last."""

from typing import Any

import pytest

from storefleet.core.errors import TransientError
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.resource_kinds import Kind
from storefleet.runtimes.kubernetes.readiness.diagnosis import (
    Ready,
    Trouble,
    Verdict,
    Waiting,
    Warned,
    judge,
    missing_pods,
)
from storefleet.runtimes.kubernetes.readiness.grace_periods import Patience
from storefleet.runtimes.kubernetes.readiness.snapshots import (
    Container,
    Pod,
    Seen,
    Workload,
    digest,
)
from storefleet.runtimes.kubernetes.releases.stuck_resources import mends
from tests.support.kubernetes import a_container, a_pod, a_workload

WEB, DATABASE, JOB = a_workload(), a_workload("StatefulSet"), a_workload("Job")
NOT_READY = {"ready": 0}


def seen(*objects: Pod | Workload) -> Seen:
    return Seen(
        pods=tuple(each for each in objects if isinstance(each, Pod)),
        workloads=tuple(each for each in objects if isinstance(each, Workload)),
    )


def trouble(verdict: Verdict) -> Trouble:
    assert isinstance(verdict, Trouble), verdict
    return verdict


# digests --------------------------------------------------------------------------------------------------------------


def metadata(**fields: Any) -> dict[str, Any]:
    return {"name": "web-1", "uid": "u1", "labels": {resource_kinds.COMPONENT: "web"}, **fields}


def test_a_running_pod() -> None:
    status = {
        "phase": "Running",
        "conditions": [
            {"type": "Ready", "status": "True"},
            {"type": "PodScheduled", "status": "True"},
        ],
        "initContainerStatuses": [
            {"name": "first", "ready": True, "state": {"terminated": {"exitCode": 0}}}
        ],
        "containerStatuses": [
            {
                "name": "web",
                "ready": True,
                "restartCount": 2,
                "state": {"running": {}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
            }
        ],
    }
    owners = [{"uid": "other"}, {"uid": "rs", "controller": True}]
    assert digest(
        resource_kinds.POD, {"metadata": metadata(ownerReferences=owners), "status": status}
    ) == a_pod(
        a_container(name="first", ready=True, ended="ended (exit 0)"),
        a_container(ready=True, restarts=2, ended="OOMKilled (exit 137)"),
        uid="u1",
        ready=True,
    )


def test_a_pod_that_has_only_begun() -> None:
    assert digest(resource_kinds.POD, {"metadata": metadata(deletionTimestamp="now")}) == Pod(
        "web-1",
        "u1",
        "web",
        "",
        "",
        leaving=True,
        ready=False,
        unschedulable="",
        reason="",
        containers=(),
    )


def test_a_pod_that_no_node_takes_and_one_whose_image_is_missing() -> None:
    conditions = [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/1\n nodes",
        }
    ]
    pod = digest(
        resource_kinds.POD,
        {"metadata": metadata(), "status": {"phase": "Pending", "conditions": conditions}},
    )
    assert isinstance(pod, Pod)
    assert pod.unschedulable == "0/1 nodes"
    waiting = {
        "name": "web",
        "state": {"waiting": {"reason": "ImagePullBackOff", "message": "m" * 5000}},
    }
    pod = digest(
        resource_kinds.POD,
        {"metadata": metadata(), "status": {"containerStatuses": [waiting] * 50}},
    )
    assert isinstance(pod, Pod)
    assert len(pod.containers) == 10
    assert len(pod.containers[0].message) == 400


@pytest.mark.parametrize(
    ("kind", "spec", "status", "expected"),
    [
        (
            resource_kinds.DEPLOYMENT,
            {"replicas": 1},
            {},
            {"current": False, "updated": 0, "ready": 0},
        ),
        (
            resource_kinds.DEPLOYMENT,
            {"replicas": 2},
            {"observedGeneration": 3, "updatedReplicas": 2, "readyReplicas": 1},
            {"current": True, "wanted": 2, "updated": 2, "ready": 1},
        ),
        (
            resource_kinds.DEPLOYMENT,
            {"replicas": 0},
            {"observedGeneration": 2},
            {"current": False, "wanted": 0},
        ),
        (
            resource_kinds.JOB,
            {},
            {"failed": 1},
            {"current": True, "failures": 1, "complete": False},
        ),
        (
            resource_kinds.JOB,
            {},
            {"conditions": [{"type": "Complete", "status": "True"}]},
            {"complete": True},
        ),
        (
            resource_kinds.JOB,
            {},
            {
                "conditions": [
                    {
                        "type": "Failed",
                        "status": "True",
                        "reason": "BackoffLimitExceeded",
                        "message": "m",
                    }
                ]
            },
            {"failed": "BackoffLimitExceeded: m"},
        ),
        (
            resource_kinds.DEPLOYMENT,
            {},
            {
                "conditions": [
                    {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
                ]
            },
            {"refused": "exceeded quota", "wanted": 1},
        ),
        (
            resource_kinds.DEPLOYMENT,
            {},
            {
                "conditions": [
                    {"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "m"}
                ]
            },
            {"failed": "ProgressDeadlineExceeded: m"},
        ),
    ],
)
def test_workloads(
    kind: Kind, spec: dict[str, Any], status: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = digest(kind, {"metadata": metadata(generation=3), "spec": spec, "status": status})
    assert isinstance(found, Workload)
    assert {name: getattr(found, name) for name in expected} == expected


# verdicts -------------------------------------------------------------------------------------------------------------


def test_ready() -> None:
    assert judge(seen(WEB, DATABASE, JOB, a_pod(ready=True))) == Ready("1 pod ready")
    running = (
        a_pod(ready=True),
        a_pod(ready=True, uid="p2"),
        a_pod(ready=True, uid="p3", leaving=True),
    )
    assert judge(seen(WEB, *running)) == Ready("2 pods ready")


def test_the_end_of_a_jobs_pod_is_as_good_as_the_jobs() -> None:
    job = a_workload("Job", complete=False)
    ended = a_pod(component="setup", owner=job.uid, phase="Succeeded")
    assert isinstance(judge(seen(WEB, job, ended)), Ready)
    assert isinstance(judge(seen(WEB, job, ended._replace(owner="an older job"))), Waiting)


@pytest.mark.parametrize(
    "objects",
    [
        (),
        (DATABASE, JOB),
        (a_workload(name="worker", component="worker"),),
        (a_workload(current=False), a_pod(ready=True)),
        (a_workload(updated=0), a_pod(ready=True)),
        (a_workload(leaving=True), a_pod(ready=True)),
        (WEB, a_workload("StatefulSet", **NOT_READY)),
        (
            WEB,
            a_workload("Job", complete=False, failures=1),
            a_pod(owner="u-setup", component="setup", phase="Failed"),
        ),
    ],
)
def test_not_yet(objects: tuple[Pod | Workload, ...]) -> None:
    assert isinstance(judge(seen(*objects)), Waiting)


@pytest.mark.parametrize(
    ("pod", "words"),
    [
        (a_pod(phase="Pending", containers=()), "web (Deployment): its pod is being placed"),
        (
            a_pod(a_container(waiting="ContainerCreating"), phase="Pending"),
            "its container is being made",
        ),
        (a_pod(a_container(waiting="PodInitializing"), phase="Pending"), "its pod begins"),
        (a_pod(), "the web (Deployment)"),
        (
            a_pod(a_container(restarts=1, ended="Error (exit 1)")),
            "web has ended 1 time(s), Error (exit 1)",
        ),
        (a_pod(reason="Evicted", phase="Failed"), "Failed, Evicted"),
        (None, "a pod for the web (Deployment)"),
    ],
)
def test_what_it_waits_for_is_said(pod: Pod | None, words: str) -> None:
    objects: tuple[Pod | Workload, ...] = (a_workload(**NOT_READY),)
    verdict = judge(seen(*objects, *((pod,) if pod else ())))
    assert isinstance(verdict, Waiting)
    assert words in verdict.text


def test_a_warning_tells_why_a_pod_does_not_begin() -> None:
    pod = a_pod(a_container(waiting="ContainerCreating"), phase="Pending")
    warnings = [
        Warned("Pod", "web-1", "FailedMount", "secret “x” not found"),
        Warned("Pod", "web-2", "FailedMount", "another pod's"),
    ]
    assert missing_pods(seen(a_workload(**NOT_READY), pod))
    verdict = judge(seen(a_workload(**NOT_READY), pod), warnings)
    assert isinstance(verdict, Waiting)
    assert "FailedMount: secret “x” not found" in verdict.text


@pytest.mark.parametrize(
    ("container", "code", "patience"),
    [
        (a_container(waiting="ImagePullBackOff", message="no such"), "image_missing", 20),
        (a_container(waiting="ErrImagePull", message="no such"), "image_missing", 20),
        (a_container(waiting="InvalidImageName", message="no such"), "image_missing", 0),
        (
            a_container(waiting="CreateContainerConfigError", message="no such"),
            "container_refused",
            20,
        ),
        (
            a_container(restarts=3, waiting="CrashLoopBackOff", ended="no such (exit 1)"),
            "store_crashes",
            0,
        ),
    ],
)
def test_containers_in_trouble(container: Container, code: str, patience: float) -> None:
    found = trouble(judge(seen(a_workload(**NOT_READY), a_pod(container))))
    assert (found.code, found.patience, found.pod) == (code, patience, "web-1")
    assert "no such" in found.cause
    assert found.next_step


def test_restarts_of_what_is_ready_again_are_no_trouble() -> None:
    assert isinstance(
        judge(seen(WEB, a_pod(a_container(restarts=9, ready=True), ready=True))), Ready
    )
    assert isinstance(judge(seen(a_workload(**NOT_READY), a_pod(a_container(restarts=2)))), Waiting)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ('pods "x" is forbidden: exceeded quota: store, requested: pods=1', "quota_exceeded"),
        ("maximum memory usage per Container is 256Mi, but limit is 1Gi", "quota_exceeded"),
        (
            'pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true',
            "pod_refused",
        ),
        ("ValidatingAdmissionPolicy 'hosts' with binding 'hosts' denied request", "policy_refused"),
        ("something new", "pod_refused"),
    ],
)
def test_pods_that_are_refused(words: str, code: str) -> None:
    found = trouble(judge(seen(a_workload(refused=words, **NOT_READY))))
    assert (found.code, found.patience) == (code, 15)
    assert words in found.cause
    stateful = seen(WEB, a_workload("StatefulSet", **NOT_READY))
    warnings = [
        Warned("StatefulSet", "other", "FailedCreate", "x"),
        Warned("StatefulSet", "database", "Other", "x"),
    ]
    assert isinstance(judge(stateful, warnings), Waiting)
    found = trouble(
        judge(stateful, [*warnings, Warned("StatefulSet", "database", "FailedCreate", words)])
    )
    assert found.code == code


def test_a_refusal_is_over_when_there_is_a_pod() -> None:
    assert isinstance(
        judge(seen(a_workload(refused="exceeded quota", **NOT_READY), a_pod())), Waiting
    )


def test_a_pod_that_no_node_takes() -> None:
    pod = a_pod(phase="Pending", unschedulable="0/1 nodes are available", containers=())
    found = trouble(judge(seen(a_workload(**NOT_READY), pod)))
    assert (found.code, found.patience) == ("unschedulable", 40)


def test_a_failed_job_comes_first() -> None:
    job = a_workload("Job", complete=False, failed="BackoffLimitExceeded: m")
    pod = a_pod(
        a_container(name="setup", ended="Error (exit 3)"),
        name="setup-1",
        owner=job.uid,
        phase="Failed",
    )
    waiting = a_pod(a_container(waiting="ImagePullBackOff"))
    found = trouble(judge(seen(a_workload(**NOT_READY), waiting, job, pod)))
    assert (found.code, found.pod, found.container) == ("setup_failed", "setup-1", "setup")
    assert "Error (exit 3)" in found.cause


def test_no_progress() -> None:
    found = trouble(
        judge(seen(a_workload(failed="ProgressDeadlineExceeded: m", **NOT_READY), a_pod()))
    )
    assert (found.code, found.patience) == ("store_not_ready", 0)


# retries --------------------------------------------------------------------------------------------------------------


def test_what_a_retry_takes_out_of_the_way() -> None:
    failed = a_workload("Job", complete=False, failed="DeadlineExceeded: m")
    poor = a_workload("StatefulSet", refused="exceeded quota", updated=0, **NOT_READY)
    stuck = a_pod(a_container(waiting="ImagePullBackOff"))
    leaving = a_pod(a_container(waiting="ImagePullBackOff"), uid="p2", leaving=True)
    found = mends(seen(failed, poor, a_workload(**NOT_READY), stuck, leaving))
    assert found == ((failed,), (stuck,), (poor,))
    assert not mends(seen(WEB, DATABASE, JOB, a_pod(ready=True)))


# patience -------------------------------------------------------------------------------------------------------------


def test_trouble_is_certain_when_it_has_lasted() -> None:
    patience = Patience(now=100)
    first, other = Trouble("image_missing", "x", "y", 20), Trouble("unschedulable", "x", "y", 40)
    assert not patience.is_certain(first, now=100)
    assert not patience.is_certain(first, now=119)
    assert patience.is_certain(first, now=120)
    assert not patience.is_certain(other, now=120)
    assert not patience.is_certain(first, now=121)
    patience.note(Waiting("something"), now=130)
    assert not patience.is_certain(first, now=142)
    assert patience.is_certain(Trouble("setup_failed", "x", "y", 0), now=143)


def test_after_the_cluster_was_away_only_what_is_final_is_certain_at_once() -> None:
    patience = Patience(now=100)
    trouble, final = (
        Trouble("container_refused", "x", "y", 20),
        Trouble("setup_failed", "x", "y", 0),
    )
    assert not patience.is_certain(trouble, restored=100, now=110)
    assert not patience.is_certain(trouble, restored=100, now=219)
    assert patience.is_certain(trouble, restored=100, now=220)
    assert patience.is_certain(final, restored=220, now=221)


@pytest.mark.parametrize(
    "words",
    [
        'pods "x" is forbidden: error looking up service account st-x/default: serviceaccount "default" not found',
        'pods "x" is forbidden: status unknown for quota: store, resources: limits.cpu',
    ],
)
def test_a_controller_that_catches_up_is_no_trouble(words: str) -> None:
    verdict = judge(seen(a_workload(refused=words, **NOT_READY)))
    assert isinstance(verdict, Waiting)
    assert words in verdict.text


def test_a_node_that_catches_up_is_no_trouble() -> None:
    words = "failed to sync secret cache: timed out waiting for the condition"
    pod = a_pod(a_container(waiting="CreateContainerConfigError", message=words), phase="Pending")
    assert isinstance(judge(seen(a_workload(**NOT_READY), pod)), Waiting)


def test_times_when_the_cluster_was_away_do_not_count() -> None:
    patience = Patience(now=0)
    patience.note(Waiting("web"), now=200)
    patience.pause(now=1000)
    patience.note(Waiting("web"), now=1090)
    with pytest.raises(TransientError, match="it waits for web") as error:
        patience.note(Waiting("web"), now=1101)
    assert error.value.code == "store_not_ready"


def test_warnings_are_asked_for_when_nothing_is_new() -> None:
    patience = Patience(now=0)
    assert not patience.wants_warnings(now=2)
    patience.note(Waiting("web"), now=2.5)
    assert not patience.wants_warnings(now=5)
    assert patience.wants_warnings(now=5.5)
    assert not patience.wants_warnings(now=8)
    assert patience.wants_warnings(now=10.6)
