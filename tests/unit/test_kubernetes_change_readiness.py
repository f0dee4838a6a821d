"""Readiness during a version change: relevant pods, shorter grace periods, stray pods."""

from typing import Any

import pytest

from storefleet.core.errors import PermanentError
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.readiness import grace_periods
from storefleet.runtimes.kubernetes.readiness.diagnosis import (
    diagnose_store,
    diagnose_task,
    has_unexplained_wait,
)
from storefleet.runtimes.kubernetes.readiness.diagnosis_types import (
    VERSION_CHANGE_TOLERANCE,
    Diagnosis,
    NotReady,
    ReadinessProblem,
    Ready,
)
from storefleet.runtimes.kubernetes.readiness.grace_periods import GracePeriods, WaitLimits
from storefleet.runtimes.kubernetes.readiness.snapshot_parsing import make_snapshot
from storefleet.runtimes.kubernetes.readiness.snapshots import (
    PodSnapshot,
    ReplicaSetSnapshot,
    StoreSnapshot,
    WorkloadSnapshot,
)
from storefleet.runtimes.kubernetes.releases.stuck_resources import find_stuck_resources
from storefleet.runtimes.kubernetes.usage import list_resource_usage, parse_quantity
from tests.support.cluster.samples import a_container, a_pod, a_workload

OLD, NEW = ReplicaSetSnapshot("rs-1", "u-web", 1), ReplicaSetSnapshot("rs-2", "u-web", 2)
WEB = a_workload(revision=2, updated_replicas=1, ready_replicas=1, total_replicas=2)
OLD_POD = a_pod(
    a_container(is_ready=True), name="web-old", uid="p1", owner_uid="rs-1", is_ready=True
)


def a_new_pod(**container: Any) -> PodSnapshot:
    return a_pod(a_container(**container), name="web-new", uid="p2", owner_uid="rs-2")


def seen(
    *pods: PodSnapshot, web: WorkloadSnapshot = WEB, more: tuple[WorkloadSnapshot, ...] = ()
) -> StoreSnapshot:
    return StoreSnapshot(pods, (web, *more), (OLD, NEW))


def trouble(verdict: Diagnosis) -> ReadinessProblem:
    assert isinstance(verdict, ReadinessProblem), verdict
    return verdict


def test_only_newest_revision_pods_count() -> None:
    new = a_new_pod()
    both = seen(OLD_POD, new)
    assert both.list_pods(WEB) == (new,)
    assert seen(OLD_POD, new, web=WEB._replace(revision=1)).list_pods(WEB._replace(revision=1)) == (
        OLD_POD,
    )
    assert both.list_pods(WEB._replace(is_spec_observed=False)) == (), (
        "its controller has not said which is the newest"
    )
    assert StoreSnapshot((OLD_POD, new), (WEB,)).list_pods(WEB) == (OLD_POD, new), (
        "known by their component alone"
    )


def test_old_pod_beside_new_pod_is_not_ready() -> None:
    assert isinstance(
        diagnose_store(seen(OLD_POD, a_new_pod()), (), VERSION_CHANGE_TOLERANCE), NotReady
    )
    assert isinstance(
        diagnose_store(
            seen(OLD_POD, a_new_pod(is_ready=True), web=WEB._replace(total_replicas=1)),
            (),
            VERSION_CHANGE_TOLERANCE,
        ),
        Ready,
    )


@pytest.mark.parametrize(
    ("container", "code", "seconds"),
    [
        ({"waiting_reason": "ErrImagePull", "waiting_message": "m"}, "image_missing", 15),
        ({"restarts": 1, "last_exit": "Error (exit 1)"}, "store_crashes", 30),
        ({"restarts": 2, "last_exit": "Error (exit 1)"}, "store_crashes", 30),
        (
            {"restarts": 2, "last_exit": "Error (exit 1)", "waiting_reason": "CrashLoopBackOff"},
            "store_crashes",
            0,
        ),
    ],
)
def test_version_change_shortens_grace_period(
    container: dict[str, Any], code: str, seconds: float
) -> None:
    found = trouble(
        diagnose_store(seen(OLD_POD, a_new_pod(**container)), (), VERSION_CHANGE_TOLERANCE)
    )
    assert (found.code, found.grace_period_s, found.pod) == (code, seconds, "web-new")


@pytest.mark.parametrize(("failures", "seconds"), [(1, 30), (2, 30), (3, 0)])
def test_repeated_setup_failure_is_final(failures: int, seconds: float) -> None:
    job = a_workload("Job", is_complete=False, failed_pods=failures)
    pod = a_pod(
        a_container(last_exit="Error (exit 1)"), name="setup-1", owner_uid=job.uid, phase="Failed"
    )
    found = trouble(diagnose_store(seen(OLD_POD, pod, more=(job,)), (), VERSION_CHANGE_TOLERANCE))
    assert (found.code, found.grace_period_s, found.pod) == ("setup_failed", seconds, "setup-1")
    assert isinstance(diagnose_store(seen(OLD_POD, pod, more=(job,))), NotReady), (
        "at a creation it may go on trying"
    )


def test_terminating_pod_is_ignored() -> None:
    job = a_workload(
        "Job", is_complete=False, failure="BackoffLimitExceeded: m", is_terminating=True
    )
    verdict = diagnose_store(
        seen(OLD_POD, web=WEB._replace(revision=1, total_replicas=1), more=(job,)),
        (),
        VERSION_CHANGE_TOLERANCE,
    )
    assert isinstance(verdict, NotReady)
    assert "the deletion of the old set-up (Job)" in verdict.text


def test_tasks_are_diagnosed_separately() -> None:
    task = a_workload(
        "Job",
        name="dump-1",
        uid="u-dump",
        task="dump",
        is_complete=False,
        failure="DeadlineExceeded: m",
    )
    found = seen(OLD_POD, web=WEB._replace(total_replicas=1), more=(task,))
    assert isinstance(diagnose_store(found), Ready)
    assert trouble(diagnose_task(found, "dump-1")).code == "task_failed"
    assert isinstance(diagnose_task(found, "dump-2"), NotReady)
    assert not has_unexplained_wait(found)
    assert has_unexplained_wait(found, "dump-1")
    done = seen(more=(task._replace(failure="", is_complete=True),))
    assert isinstance(diagnose_task(done, "dump-1"), Ready)
    assert find_stuck_resources(done).jobs == done.workloads[1:], "a task that is left over goes"


def test_stray_pods_of_other_version_are_listed() -> None:
    gone = a_pod(uid="p3", name="setup-1", owner_uid="a job that is gone", component="setup")
    assert seen(OLD_POD, a_new_pod(is_ready=True), gone).list_stray_pods() == ["web-old", "setup-1"]
    assert seen(a_new_pod()._replace(is_terminating=True)).list_stray_pods() == ["web-new"]
    assert seen(a_new_pod()).list_stray_pods() == []


def test_snapshot_of_replica_set_and_task_output() -> None:
    owner = [{"uid": "u-web", "controller": True}]
    metadata: dict[str, Any] = {"name": "web-2", "uid": "rs-2", "ownerReferences": owner}
    told = {**metadata, "annotations": {resource_kinds.REVISION_ANNOTATION: "2"}}
    assert make_snapshot(resource_kinds.REPLICA_SET, {"metadata": told}) == NEW
    assert make_snapshot(resource_kinds.REPLICA_SET, {"metadata": metadata}) == NEW._replace(
        revision=0
    )
    ended = {"name": "dump", "state": {"terminated": {"exitCode": 0, "message": '{"bytes":1}'}}}
    for labels, answer in (({resource_kinds.TASK_LABEL: "dump"}, '{"bytes":1}'), ({}, "")):
        pod = make_snapshot(
            resource_kinds.POD,
            {"metadata": {**metadata, "labels": labels}, "status": {"containerStatuses": [ended]}},
        )
        assert isinstance(pod, PodSnapshot)
        assert pod.containers[0].termination_message == answer


def test_version_change_limits_exclude_setup() -> None:
    wait = GracePeriods(grace_periods.VERSION_CHANGE_LIMITS, now=0)
    for now in range(0, 200, 10):
        wait.extend_for_setup(now=now)
        wait.record_diagnosis(NotReady("the set-up"), now=now)
    wait.record_diagnosis(NotReady("web"), now=270)
    with pytest.raises(PermanentError, match="It waits for web") as error:
        wait.record_diagnosis(NotReady("web"), now=290)
    assert error.value.code == "store_not_ready"


def test_setup_wait_is_limited() -> None:
    wait = GracePeriods(WaitLimits(timeout_s=10, setup_extension_s=30, is_final=True), now=0)

    def pass_to(now: float) -> None:
        wait.extend_for_setup(now=now)
        wait.record_diagnosis(NotReady("the set-up"), now=now)

    for now in range(0, 45, 5):
        pass_to(now)
    with pytest.raises(PermanentError):
        pass_to(45)


@pytest.mark.parametrize(
    ("text", "number"),
    [("128Mi", 134217728), ("1k", 1000), ("250m", 0.25), ("2", 2), ("1.5Gi", 1610612736), ("0", 0)],
)
def test_quantities_are_parsed(text: str, number: float) -> None:
    assert float(parse_quantity(text)) == number


def test_resource_usage_is_listed() -> None:
    hard = {"requests.cpu": "500m", "limits.memory": "1536Mi", "pods": "4"}
    used = {"requests.cpu": "125m", "limits.memory": "0", "pods": "what?"}
    quotas = [
        {"metadata": {"name": "store"}, "status": {"hard": hard, "used": used}},
        {
            "metadata": {"name": "objects"},
            "status": {"hard": {"requests.storage": "0"}, "used": {}},
        },
        {"metadata": {"name": "jobs"}},
    ]
    assert list_resource_usage(quotas) == [
        ("CPU requests", "0.125", "0.5", 0.25),
        ("memory limits", "0 bytes", "1.5 GiB", 0.0),
    ]
