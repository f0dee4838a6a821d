"""Resource snapshots, diagnoses, and grace periods."""

from typing import Any

import pytest

from storefleet.core.errors import TransientError
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.resource_kinds import ResourceKind
from storefleet.runtimes.kubernetes.readiness.diagnosis import diagnose_store, has_unexplained_wait
from storefleet.runtimes.kubernetes.readiness.diagnosis_types import (
    Diagnosis,
    NotReady,
    ReadinessProblem,
    Ready,
    WarningEvent,
)
from storefleet.runtimes.kubernetes.readiness.grace_periods import GracePeriods
from storefleet.runtimes.kubernetes.readiness.snapshot_parsing import make_snapshot
from storefleet.runtimes.kubernetes.readiness.snapshots import (
    ContainerSnapshot,
    PodSnapshot,
    StoreSnapshot,
    WorkloadSnapshot,
)
from storefleet.runtimes.kubernetes.releases.stuck_resources import find_stuck_resources
from tests.support.cluster.samples import a_container, a_pod, a_workload

WEB, DATABASE, JOB = a_workload(), a_workload("StatefulSet"), a_workload("Job")
NOT_READY = {"ready_replicas": 0}


def seen(*objects: PodSnapshot | WorkloadSnapshot) -> StoreSnapshot:
    return StoreSnapshot(
        pods=tuple(each for each in objects if isinstance(each, PodSnapshot)),
        workloads=tuple(each for each in objects if isinstance(each, WorkloadSnapshot)),
    )


def trouble(verdict: Diagnosis) -> ReadinessProblem:
    assert isinstance(verdict, ReadinessProblem), verdict
    return verdict


def metadata(**fields: Any) -> dict[str, Any]:
    return {
        "name": "web-1",
        "uid": "u1",
        "labels": {resource_kinds.COMPONENT_LABEL: "web"},
        **fields,
    }


def test_snapshot_of_running_pod() -> None:
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
    assert make_snapshot(
        resource_kinds.POD, {"metadata": metadata(ownerReferences=owners), "status": status}
    ) == a_pod(
        a_container(name="first", is_ready=True, last_exit="ended (exit 0)"),
        a_container(is_ready=True, restarts=2, last_exit="OOMKilled (exit 137)"),
        uid="u1",
        is_ready=True,
    )


def test_snapshot_of_starting_pod() -> None:
    assert make_snapshot(
        resource_kinds.POD, {"metadata": metadata(deletionTimestamp="now")}
    ) == PodSnapshot(
        "web-1",
        "u1",
        "web",
        "",
        "",
        is_terminating=True,
        is_ready=False,
        unschedulable_reason="",
        reason="",
        containers=(),
    )


def test_snapshot_of_unschedulable_pod_and_missing_image() -> None:
    conditions = [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/1\n nodes",
        }
    ]
    pod = make_snapshot(
        resource_kinds.POD,
        {"metadata": metadata(), "status": {"phase": "Pending", "conditions": conditions}},
    )
    assert isinstance(pod, PodSnapshot)
    assert pod.unschedulable_reason == "0/1 nodes"
    waiting = {
        "name": "web",
        "state": {"waiting": {"reason": "ImagePullBackOff", "message": "m" * 5000}},
    }
    pod = make_snapshot(
        resource_kinds.POD,
        {"metadata": metadata(), "status": {"containerStatuses": [waiting] * 50}},
    )
    assert isinstance(pod, PodSnapshot)
    assert len(pod.containers) == 10
    assert len(pod.containers[0].waiting_message) == 400


@pytest.mark.parametrize(
    ("kind", "spec", "status", "expected"),
    [
        (
            resource_kinds.DEPLOYMENT,
            {"replicas": 1},
            {},
            {"is_spec_observed": False, "updated_replicas": 0, "ready_replicas": 0},
        ),
        (
            resource_kinds.DEPLOYMENT,
            {"replicas": 2},
            {"observedGeneration": 3, "updatedReplicas": 2, "readyReplicas": 1},
            {
                "is_spec_observed": True,
                "wanted_replicas": 2,
                "updated_replicas": 2,
                "ready_replicas": 1,
            },
        ),
        (
            resource_kinds.DEPLOYMENT,
            {"replicas": 0},
            {"observedGeneration": 2},
            {"is_spec_observed": False, "wanted_replicas": 0},
        ),
        (
            resource_kinds.JOB,
            {},
            {"failed": 1},
            {"is_spec_observed": True, "failed_pods": 1, "is_complete": False},
        ),
        (
            resource_kinds.JOB,
            {},
            {"conditions": [{"type": "Complete", "status": "True"}]},
            {"is_complete": True},
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
            {"failure": "BackoffLimitExceeded: m"},
        ),
        (
            resource_kinds.DEPLOYMENT,
            {},
            {
                "conditions": [
                    {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
                ]
            },
            {"rejection": "exceeded quota", "wanted_replicas": 1},
        ),
        (
            resource_kinds.DEPLOYMENT,
            {},
            {
                "conditions": [
                    {"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "m"}
                ]
            },
            {"failure": "ProgressDeadlineExceeded: m"},
        ),
    ],
)
def test_snapshot_of_workloads(
    kind: ResourceKind, spec: dict[str, Any], status: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = make_snapshot(
        kind, {"metadata": metadata(generation=3), "spec": spec, "status": status}
    )
    assert isinstance(found, WorkloadSnapshot)
    assert {name: getattr(found, name) for name in expected} == expected


def test_ready_store_has_no_findings() -> None:
    assert diagnose_store(seen(WEB, DATABASE, JOB, a_pod(is_ready=True))) == Ready("1 pod ready")
    running = (
        a_pod(is_ready=True),
        a_pod(is_ready=True, uid="p2"),
        a_pod(is_ready=True, uid="p3", is_terminating=True),
    )
    assert diagnose_store(seen(WEB, *running)) == Ready("2 pods ready")


def test_succeeded_pod_completes_job() -> None:
    job = a_workload("Job", is_complete=False)
    ended = a_pod(component="setup", owner_uid=job.uid, phase="Succeeded")
    assert isinstance(diagnose_store(seen(WEB, job, ended)), Ready)
    assert isinstance(
        diagnose_store(seen(WEB, job, ended._replace(owner_uid="an older job"))), NotReady
    )


@pytest.mark.parametrize(
    "objects",
    [
        (),
        (DATABASE, JOB),
        (a_workload(name="worker", component="worker"),),
        (a_workload(is_spec_observed=False), a_pod(is_ready=True)),
        (a_workload(updated_replicas=0), a_pod(is_ready=True)),
        (a_workload(is_terminating=True), a_pod(is_ready=True)),
        (WEB, a_workload("StatefulSet", **NOT_READY)),
        (
            WEB,
            a_workload("Job", is_complete=False, failed_pods=1),
            a_pod(owner_uid="u-setup", component="setup", phase="Failed"),
        ),
    ],
)
def test_unready_workloads_are_pending(objects: tuple[PodSnapshot | WorkloadSnapshot, ...]) -> None:
    assert isinstance(diagnose_store(seen(*objects)), NotReady)


@pytest.mark.parametrize(
    ("pod", "words"),
    [
        (a_pod(phase="Pending", containers=()), "web (Deployment): its pod is scheduled"),
        (
            a_pod(a_container(waiting_reason="ContainerCreating"), phase="Pending"),
            "its container is being created",
        ),
        (a_pod(a_container(waiting_reason="PodInitializing"), phase="Pending"), "its pod starts"),
        (a_pod(), "the web (Deployment)"),
        (
            a_pod(a_container(restarts=1, last_exit="Error (exit 1)")),
            "web has ended 1 time(s), Error (exit 1)",
        ),
        (a_pod(reason="Evicted", phase="Failed"), "Failed, Evicted"),
        (None, "a pod of the web (Deployment)"),
    ],
)
def test_pending_message_names_cause(pod: PodSnapshot | None, words: str) -> None:
    objects: tuple[PodSnapshot | WorkloadSnapshot, ...] = (a_workload(**NOT_READY),)
    verdict = diagnose_store(seen(*objects, *((pod,) if pod else ())))
    assert isinstance(verdict, NotReady)
    assert words in verdict.text


def test_warning_event_explains_pending_pod() -> None:
    pod = a_pod(a_container(waiting_reason="ContainerCreating"), phase="Pending")
    warnings = [
        WarningEvent("Pod", "web-1", "FailedMount", "secret “x” not found"),
        WarningEvent("Pod", "web-2", "FailedMount", "another pod's"),
    ]
    assert has_unexplained_wait(seen(a_workload(**NOT_READY), pod))
    verdict = diagnose_store(seen(a_workload(**NOT_READY), pod), warnings)
    assert isinstance(verdict, NotReady)
    assert "FailedMount: secret “x” not found" in verdict.text


@pytest.mark.parametrize(
    ("container", "code", "patience"),
    [
        (
            a_container(waiting_reason="ImagePullBackOff", waiting_message="no such"),
            "image_missing",
            20,
        ),
        (
            a_container(waiting_reason="ErrImagePull", waiting_message="no such"),
            "image_missing",
            20,
        ),
        (
            a_container(waiting_reason="InvalidImageName", waiting_message="no such"),
            "image_missing",
            0,
        ),
        (
            a_container(waiting_reason="CreateContainerConfigError", waiting_message="no such"),
            "container_refused",
            20,
        ),
        (
            a_container(
                restarts=3, waiting_reason="CrashLoopBackOff", last_exit="no such (exit 1)"
            ),
            "store_crashes",
            0,
        ),
    ],
)
def test_failing_containers_are_diagnosed(
    container: ContainerSnapshot, code: str, patience: float
) -> None:
    found = trouble(diagnose_store(seen(a_workload(**NOT_READY), a_pod(container))))
    assert (found.code, found.grace_period_s, found.pod) == (code, patience, "web-1")
    assert "no such" in found.cause
    assert found.next_step


def test_restarts_of_ready_container_are_ignored() -> None:
    assert isinstance(
        diagnose_store(seen(WEB, a_pod(a_container(restarts=9, is_ready=True), is_ready=True))),
        Ready,
    )
    assert isinstance(
        diagnose_store(seen(a_workload(**NOT_READY), a_pod(a_container(restarts=2)))), NotReady
    )


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
def test_rejected_pods_are_diagnosed(words: str, code: str) -> None:
    found = trouble(diagnose_store(seen(a_workload(rejection=words, **NOT_READY))))
    assert (found.code, found.grace_period_s) == (code, 15)
    assert words in found.cause
    stateful = seen(WEB, a_workload("StatefulSet", **NOT_READY))
    warnings = [
        WarningEvent("StatefulSet", "other", "FailedCreate", "x"),
        WarningEvent("StatefulSet", "database", "Other", "x"),
    ]
    assert isinstance(diagnose_store(stateful, warnings), NotReady)
    found = trouble(
        diagnose_store(
            stateful, [*warnings, WarningEvent("StatefulSet", "database", "FailedCreate", words)]
        )
    )
    assert found.code == code


def test_existing_pod_clears_rejection() -> None:
    assert isinstance(
        diagnose_store(seen(a_workload(rejection="exceeded quota", **NOT_READY), a_pod())), NotReady
    )


def test_unschedulable_pod_is_diagnosed() -> None:
    pod = a_pod(phase="Pending", unschedulable_reason="0/1 nodes are available", containers=())
    found = trouble(diagnose_store(seen(a_workload(**NOT_READY), pod)))
    assert (found.code, found.grace_period_s) == ("unschedulable", 40)


def test_failed_job_is_reported_first() -> None:
    job = a_workload("Job", is_complete=False, failure="BackoffLimitExceeded: m")
    pod = a_pod(
        a_container(name="setup", last_exit="Error (exit 3)"),
        name="setup-1",
        owner_uid=job.uid,
        phase="Failed",
    )
    waiting = a_pod(a_container(waiting_reason="ImagePullBackOff"))
    found = trouble(diagnose_store(seen(a_workload(**NOT_READY), waiting, job, pod)))
    assert (found.code, found.pod, found.container) == ("setup_failed", "setup-1", "setup")
    assert "Error (exit 3)" in found.cause


def test_exceeded_progress_deadline_is_diagnosed() -> None:
    found = trouble(
        diagnose_store(
            seen(a_workload(failure="ProgressDeadlineExceeded: m", **NOT_READY), a_pod())
        )
    )
    # The condition outlives its cause, so a retry has time to make progress.
    assert (found.code, found.grace_period_s) == ("store_not_ready", 60)


def test_retry_finds_stuck_resources() -> None:
    failed = a_workload("Job", is_complete=False, failure="DeadlineExceeded: m")
    poor = a_workload("StatefulSet", rejection="exceeded quota", updated_replicas=0, **NOT_READY)
    stuck = a_pod(a_container(waiting_reason="ImagePullBackOff"))
    leaving = a_pod(a_container(waiting_reason="ImagePullBackOff"), uid="p2", is_terminating=True)
    found = find_stuck_resources(seen(failed, poor, a_workload(**NOT_READY), stuck, leaving))
    assert found == ((failed,), (stuck,), (poor,))
    assert not find_stuck_resources(seen(WEB, DATABASE, JOB, a_pod(is_ready=True)))
    in_backoff = a_workload("Job", is_complete=False, failed_pods=3)
    assert find_stuck_resources(seen(in_backoff)).jobs == (in_backoff,)
    recovered = a_workload("Job", is_complete=True, failed_pods=1)
    assert not find_stuck_resources(seen(recovered)).jobs


def test_condition_is_final_after_grace_period() -> None:
    patience = GracePeriods(now=100)
    first, other = (
        ReadinessProblem("image_missing", "x", "y", 20),
        ReadinessProblem("unschedulable", "x", "y", 40),
    )
    assert not patience.record_problem(first, now=100)
    assert not patience.record_problem(first, now=119)
    assert patience.record_problem(first, now=120)
    assert not patience.record_problem(other, now=120)
    assert not patience.record_problem(first, now=121)
    patience.record_diagnosis(NotReady("something"), now=130)
    assert not patience.record_problem(first, now=142)
    assert patience.record_problem(ReadinessProblem("setup_failed", "x", "y", 0), now=143)


def test_cluster_outage_restarts_grace_periods() -> None:
    patience = GracePeriods(now=100)
    trouble, final = (
        ReadinessProblem("container_refused", "x", "y", 20),
        ReadinessProblem("setup_failed", "x", "y", 0),
    )
    assert not patience.record_problem(trouble, restored_at=100, now=110)
    assert not patience.record_problem(trouble, restored_at=100, now=219)
    assert patience.record_problem(trouble, restored_at=100, now=220)
    assert patience.record_problem(final, restored_at=220, now=221)


@pytest.mark.parametrize(
    "words",
    [
        (
            'pods "x" is forbidden: error looking up service account st-x/default: serviceaccount '
            '"default" not found'
        ),
        'pods "x" is forbidden: status unknown for quota: store, resources: limits.cpu',
    ],
)
def test_delayed_controller_is_not_failure(words: str) -> None:
    verdict = diagnose_store(seen(a_workload(rejection=words, **NOT_READY)))
    assert isinstance(verdict, NotReady)
    assert words in verdict.text


def test_delayed_node_is_not_failure() -> None:
    words = "failed to sync secret cache: timed out waiting for the condition"
    pod = a_pod(
        a_container(waiting_reason="CreateContainerConfigError", waiting_message=words),
        phase="Pending",
    )
    assert isinstance(diagnose_store(seen(a_workload(**NOT_READY), pod)), NotReady)


def test_cluster_outage_does_not_count() -> None:
    patience = GracePeriods(now=0)
    patience.record_diagnosis(NotReady("web"), now=200)
    patience.exclude_outage(now=1000)
    patience.record_diagnosis(NotReady("web"), now=1090)
    with pytest.raises(TransientError, match="It waits for web") as error:
        patience.record_diagnosis(NotReady("web"), now=1101)
    assert error.value.code == "store_not_ready"


def test_warning_events_are_read_without_progress() -> None:
    patience = GracePeriods(now=0)
    assert not patience.start_warning_read(now=2)
    patience.record_diagnosis(NotReady("web"), now=2.5)
    assert not patience.start_warning_read(now=5)
    assert patience.start_warning_read(now=5.5)
    assert not patience.start_warning_read(now=8)
    assert patience.start_warning_read(now=10.6)
