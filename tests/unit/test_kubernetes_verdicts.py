"""Verdicts while a store gets another version: whose pods count, what is certain sooner, what has to go."""

from typing import Any

import pytest

from storefleet.core.errors import PermanentError
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.readiness import grace_periods
from storefleet.runtimes.kubernetes.readiness.diagnosis import (
    IN_CHANGE,
    Ready,
    Trouble,
    Verdict,
    Waiting,
    judge,
    judge_task,
    missing_pods,
)
from storefleet.runtimes.kubernetes.readiness.grace_periods import Limits, Patience
from storefleet.runtimes.kubernetes.readiness.snapshots import (
    Pod,
    ReplicaSet,
    Seen,
    Workload,
    digest,
)
from storefleet.runtimes.kubernetes.releases.stuck_resources import mends
from storefleet.runtimes.kubernetes.usage import make_usage, quantity
from tests.support.kubernetes import a_container, a_pod, a_workload

OLD, NEW = ReplicaSet("rs-1", "u-web", 1), ReplicaSet("rs-2", "u-web", 2)
WEB = a_workload(revision=2, updated=1, ready=1, total=2)
OLD_POD = a_pod(a_container(ready=True), name="web-old", uid="p1", owner="rs-1", ready=True)


def a_new_pod(**container: Any) -> Pod:
    return a_pod(a_container(**container), name="web-new", uid="p2", owner="rs-2")


def seen(*pods: Pod, web: Workload = WEB, more: tuple[Workload, ...] = ()) -> Seen:
    return Seen(pods, (web, *more), (OLD, NEW))


def trouble(verdict: Verdict) -> Trouble:
    assert isinstance(verdict, Trouble), verdict
    return verdict


def test_only_pods_of_the_newest_revision_are_its_pods() -> None:
    new = a_new_pod()
    both = seen(OLD_POD, new)
    assert both.of(WEB) == (new,)
    assert seen(OLD_POD, new, web=WEB._replace(revision=1)).of(WEB._replace(revision=1)) == (
        OLD_POD,
    )
    assert both.of(WEB._replace(current=False)) == (), (
        "its controller has not said which is the newest"
    )
    assert Seen((OLD_POD, new), (WEB,)).of(WEB) == (OLD_POD, new), "known by their component alone"


def test_the_old_pod_beside_the_new_one_is_not_ready_yet() -> None:
    assert isinstance(judge(seen(OLD_POD, a_new_pod()), (), IN_CHANGE), Waiting)
    assert isinstance(
        judge(seen(OLD_POD, a_new_pod(ready=True), web=WEB._replace(total=1)), (), IN_CHANGE), Ready
    )


@pytest.mark.parametrize(
    ("container", "code", "seconds"),
    [
        ({"waiting": "ErrImagePull", "message": "m"}, "image_missing", 15),
        ({"restarts": 1, "ended": "Error (exit 1)"}, "store_crashes", 30),
        ({"restarts": 2, "ended": "Error (exit 1)"}, "store_crashes", 30),
        (
            {"restarts": 2, "ended": "Error (exit 1)", "waiting": "CrashLoopBackOff"},
            "store_crashes",
            0,
        ),
    ],
)
def test_what_is_certain_sooner(container: dict[str, Any], code: str, seconds: float) -> None:
    found = trouble(judge(seen(OLD_POD, a_new_pod(**container)), (), IN_CHANGE))
    assert (found.code, found.patience, found.pod) == (code, seconds, "web-new")


@pytest.mark.parametrize(("failures", "seconds"), [(1, 30), (2, 30), (3, 0)])
def test_a_set_up_that_fails_again_and_again(failures: int, seconds: float) -> None:
    job = a_workload("Job", complete=False, failures=failures)
    pod = a_pod(a_container(ended="Error (exit 1)"), name="setup-1", owner=job.uid, phase="Failed")
    found = trouble(judge(seen(OLD_POD, pod, more=(job,)), (), IN_CHANGE))
    assert (found.code, found.patience, found.pod) == ("setup_failed", seconds, "setup-1")
    assert isinstance(judge(seen(OLD_POD, pod, more=(job,))), Waiting), (
        "at a creation it may go on trying"
    )


def test_what_is_on_its_way_out_is_in_no_trouble() -> None:
    job = a_workload("Job", complete=False, failed="BackoffLimitExceeded: m", leaving=True)
    verdict = judge(
        seen(OLD_POD, web=WEB._replace(revision=1, total=1), more=(job,)), (), IN_CHANGE
    )
    assert isinstance(verdict, Waiting)
    assert "the old set-up (Job) to go" in verdict.text


def test_tasks_are_judged_apart() -> None:
    task = a_workload(
        "Job",
        name="dump-1",
        uid="u-dump",
        task="dump",
        complete=False,
        failed="DeadlineExceeded: m",
    )
    found = seen(OLD_POD, web=WEB._replace(total=1), more=(task,))
    assert isinstance(judge(found), Ready)
    assert trouble(judge_task(found, "dump-1")).code == "task_failed"
    assert isinstance(judge_task(found, "dump-2"), Waiting)
    assert not missing_pods(found)
    assert missing_pods(found, "dump-1")
    done = seen(more=(task._replace(failed="", complete=True),))
    assert isinstance(judge_task(done, "dump-1"), Ready)
    assert mends(done).jobs == done.workloads[1:], "a task that is left over goes"


def test_what_is_left_of_another_version() -> None:
    gone = a_pod(uid="p3", name="setup-1", owner="a job that is gone", component="setup")
    assert seen(OLD_POD, a_new_pod(ready=True), gone).strays() == ["web-old", "setup-1"]
    assert seen(a_new_pod()._replace(leaving=True)).strays() == ["web-new"]
    assert seen(a_new_pod()).strays() == []


def test_a_replica_set_and_the_answer_of_a_task() -> None:
    owner = [{"uid": "u-web", "controller": True}]
    metadata: dict[str, Any] = {"name": "web-2", "uid": "rs-2", "ownerReferences": owner}
    told = {**metadata, "annotations": {resource_kinds.REVISION: "2"}}
    assert digest(resource_kinds.REPLICA_SET, {"metadata": told}) == NEW
    assert digest(resource_kinds.REPLICA_SET, {"metadata": metadata}) == NEW._replace(revision=0)
    ended = {"name": "dump", "state": {"terminated": {"exitCode": 0, "message": '{"bytes":1}'}}}
    for labels, answer in (({resource_kinds.TASK: "dump"}, '{"bytes":1}'), ({}, "")):
        pod = digest(
            resource_kinds.POD,
            {"metadata": {**metadata, "labels": labels}, "status": {"containerStatuses": [ended]}},
        )
        assert isinstance(pod, Pod)
        assert pod.containers[0].answer == answer


def test_in_a_change_time_is_short_but_for_a_set_up() -> None:
    wait = Patience(grace_periods.IN_CHANGE, now=0)
    for now in range(0, 200, 10):
        wait.excuse(now=now)
        wait.note(Waiting("the set-up"), now=now)
    wait.note(Waiting("web"), now=270)
    with pytest.raises(PermanentError, match="it waits for web") as error:
        wait.note(Waiting("web"), now=290)
    assert error.value.code == "store_not_ready"


def test_a_set_up_is_not_waited_for_without_end() -> None:
    wait = Patience(Limits(longest=10, setup=30, final=True), now=0)

    def pass_to(now: float) -> None:
        wait.excuse(now=now)
        wait.note(Waiting("the set-up"), now=now)

    for now in range(0, 45, 5):
        pass_to(now)
    with pytest.raises(PermanentError):
        pass_to(45)


@pytest.mark.parametrize(
    ("text", "number"),
    [("128Mi", 134217728), ("1k", 1000), ("250m", 0.25), ("2", 2), ("1.5Gi", 1610612736), ("0", 0)],
)
def test_quantities(text: str, number: float) -> None:
    assert float(quantity(text)) == number


def test_use_as_people_read_it() -> None:
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
    assert make_usage(quotas) == [
        ("CPU requests", "0.125", "0.5", 0.25),
        ("memory limits", "0 bytes", "1.5 GiB", 0.0),
    ]
