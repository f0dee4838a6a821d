"""Steps of version changes on an API server in memory with a stand-in controller."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from storefleet.core.errors import NothingChanged, PermanentError
from storefleet.core.observed import StorefrontClass
from storefleet.core.settings import Settings
from storefleet.runtimes import change_check
from storefleet.runtimes.kubernetes import version_steps
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.readiness import waiter
from storefleet.runtimes.kubernetes.runtime import KubernetesRuntime
from storefleet.runtimes.protocol import RuntimeStep, StepContext, StepResult, VersionChange
from storefleet.runtimes.storefront_observation import StorefrontObservation
from tests.support.cluster.fake_api_server import FakeApiServer, run_fake_api_server
from tests.support.cluster.samples import NAMESPACE, STORE_ID, a_store, pocket_engines
from tests.support.services.polling import eventually

HOME = f"/api/v1/namespaces/{NAMESPACE}"
APPS, BATCH = (f"/apis/{group}/v1/namespaces/{NAMESPACE}" for group in ("apps", "batch"))
OPERATION = "op_0123456789abcdef"
LABELS = {"storefleet.dev/store": STORE_ID}
UPGRADE = VersionChange("1.0.0", "2.0.0", dump_operation_id=OPERATION)
BACK = VersionChange("2.0.0", "1.0.0", restore=True, dump_operation_id=OPERATION)
DUMPED = {"bytes": 2_000_000, "at": "2026-11-25T16:00:00.000Z"}
ORDERS = {
    "count": 2,
    "orders": [{"number": "100001", "total": "EUR 19.00", "at": "2026-11-25T16:20:00Z"}],
}


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakeApiServer]:
    async with run_fake_api_server() as fake:
        yield fake


@pytest_asyncio.fixture
async def runtime(fake: FakeApiServer, tmp_path: Path) -> AsyncIterator[KubernetesRuntime]:
    helm = tmp_path / "helm"
    helm.write_text(f'#!/bin/sh\ncat >> {tmp_path}/values\necho "$@" >> {tmp_path}/runs\n')
    helm.chmod(0o755)
    settings = Settings(runtime="kubernetes", kubeconfig=fake.kubeconfig(tmp_path), helm=str(helm))
    async with KubernetesRuntime(
        settings=settings, engines=pocket_engines()
    ).open_resources() as runtime:
        yield runtime


@pytest_asyncio.fixture
async def node(fake: FakeApiServer) -> AsyncIterator["Node"]:
    """Provide a running store of version 1.0.0 and a stand-in that completes Jobs."""
    node = Node(fake)
    await node.lay()
    task = asyncio.create_task(node.run())
    yield node
    task.cancel()


class Node:
    """`answers` are the tasks' termination messages; a task without one fails."""

    def __init__(self, fake: FakeApiServer) -> None:
        self.fake = fake
        self.answers: dict[str, Any] = {
            "dump": DUMPED,
            "restore": {"bytes": 1},
            "orders": {"count": 0},
        }
        self.jobs: list[dict[str, Any]] = []

    async def lay(self) -> None:
        labels = {**LABELS, resource_kinds.COMPONENT_LABEL: "web"}
        await self.put_web(revision=1)
        await self.fake.put(f"{HOME}/services/web", {"spec": {"clusterIP": "127.0.0.1"}})
        container = {"name": "database", "image": "storefleet/pocket:old"}
        await self.fake.put(
            f"{APPS}/statefulsets/database",
            {
                "metadata": {
                    "labels": {**labels, resource_kinds.COMPONENT_LABEL: "database"},
                    "generation": 1,
                },
                "spec": {"replicas": 1, "template": {"spec": {"containers": [container]}}},
                "status": {
                    "observedGeneration": 1,
                    "updatedReplicas": 1,
                    "readyReplicas": 1,
                    "replicas": 1,
                },
            },
        )
        for task in ("dump", "restore", "orders"):
            pod = {
                "containers": [
                    {
                        "name": task,
                        "image": "x",
                        "env": [{"name": "STOREFLEET_DUMP", "value": "none"}],
                    }
                ]
            }
            await self.fake.put(
                f"{BATCH}/cronjobs/{task}",
                {"spec": {"jobTemplate": {"spec": {"template": {"spec": pod}}}}},
            )

    async def put_web(
        self, *, revision: int, replicas: int = 1, seen: bool = True, **status: Any
    ) -> None:
        labels = {**LABELS, resource_kinds.COMPONENT_LABEL: "web"}
        metadata = {
            "labels": labels,
            "generation": revision,
            "annotations": {resource_kinds.REVISION_ANNOTATION: str(revision)},
        }
        usual = dict.fromkeys(("updatedReplicas", "readyReplicas", "replicas"), replicas)
        told = {"observedGeneration": revision if seen else revision - 1, **usual, **status}
        web = f"{APPS}/deployments/web"
        made = await self.fake.put(
            web, {"metadata": metadata, "spec": {"replicas": replicas}, "status": told}
        )
        owner = {"uid": made["metadata"]["uid"], "controller": True}
        replica_set = {
            "labels": labels,
            "annotations": {resource_kinds.REVISION_ANNOTATION: str(revision)},
            "ownerReferences": [owner],
        }
        await self.fake.put(f"{APPS}/replicasets/web-{revision}", {"metadata": replica_set})

    async def put_pod(self, revision: int, **status: Any) -> None:
        owner = {
            "uid": self.fake.objects[f"{APPS}/replicasets/web-{revision}"]["metadata"]["uid"],
            "controller": True,
        }
        metadata = {
            "labels": {**LABELS, resource_kinds.COMPONENT_LABEL: "web"},
            "ownerReferences": [owner],
        }
        await self.fake.put(f"{HOME}/pods/web-{revision}", {"metadata": metadata, "status": status})

    async def run(self) -> None:
        """Play the Job controller and the node."""
        done: set[str] = set()
        while True:
            for path, job in list(self.fake.objects.items()):
                if "/jobs/" in path and job["metadata"]["uid"] not in done:
                    done.add(job["metadata"]["uid"])
                    self.jobs.append(job)
                    await self.finish(path, job)
            for path, deployment in list(self.fake.objects.items()):
                if (
                    "/deployments/" in path
                    and deployment["spec"]["replicas"] != deployment["status"]["replicas"]
                ):
                    revision = int(
                        deployment["metadata"]["annotations"][resource_kinds.REVISION_ANNOTATION]
                    )
                    await self.put_web(revision=revision, replicas=deployment["spec"]["replicas"])
            await self.collect()
            await asyncio.sleep(0.02)

    async def collect(self) -> None:
        """Delete pods whose Job is deleted."""
        uids = {each["metadata"]["uid"] for each in self.fake.objects.values()}
        for path, each in list(self.fake.objects.items()):
            owners = each["metadata"].get("ownerReferences", [])
            if "/pods/" in path and owners and owners[0]["uid"] not in uids:
                await self.fake.take(path)

    async def finish(self, path: str, job: dict[str, Any]) -> None:
        task = job["metadata"]["labels"][resource_kinds.TASK_LABEL]
        answer = self.answers.get(task)
        ended = {"exitCode": 0 if answer else 2, "message": json.dumps(answer)}
        status = {
            "phase": "Succeeded" if answer else "Failed",
            "containerStatuses": [{"name": task, "state": {"terminated": ended}}],
        }
        owner = {"uid": job["metadata"]["uid"], "controller": True}
        metadata = {
            "labels": job["spec"]["template"]["metadata"]["labels"],
            "ownerReferences": [owner],
        }
        name = job["metadata"]["name"]
        await self.fake.put(f"{HOME}/pods/{name}-1", {"metadata": metadata, "status": status})
        self.fake.logs[f"{name}-1"] = "password=hush: it went wrong"
        condition = {
            "type": "Complete" if answer else "Failed",
            "status": "True",
            "reason": "r",
            "message": "m",
        }
        await self.fake.put(path, {**job, "status": {"conditions": [condition]}})

    def env(self, number: int) -> dict[str, str]:
        (container,) = self.jobs[number]["spec"]["template"]["spec"]["containers"]
        assert len({each["name"] for each in container["env"]}) == len(container["env"])
        return {each["name"]: each["value"] for each in container["env"]}


async def run(steps: Sequence[RuntimeStep], name: str, change: VersionChange, **line: Any) -> str:
    step = next(step for step in steps if step.name == name)
    version = {"engine_version": change.from_version}
    work = StepContext(
        store=a_store().model_copy(update=version), operation_id=OPERATION, change=change, **line
    )
    async with asyncio.timeout(20):
        return (await step.run(work)).message


async def upgrade(
    runtime: KubernetesRuntime, name: str, change: VersionChange = UPGRADE, **line: Any
) -> str:
    return await run(runtime.upgrade_steps(a_store(), change), name, change, **line)


async def go_back(runtime: KubernetesRuntime, name: str) -> str:
    return await run(runtime.automatic_rollback_steps(a_store(), UPGRADE), name, UPGRADE)


async def roll_back(runtime: KubernetesRuntime, name: str, change: VersionChange = BACK) -> str:
    return await run(runtime.rollback_steps(a_store(), change), name, change)


def names(steps: Sequence[RuntimeStep]) -> list[str]:
    return [step.name for step in steps]


def test_step_plan_of_version_change(runtime: KubernetesRuntime) -> None:
    store = a_store()
    assert names(runtime.upgrade_steps(store, UPGRADE)) == [
        *("baseline", "dump", "release", "start", "verify"),
    ]
    assert names(runtime.automatic_rollback_steps(store, UPGRADE)) == [
        "rollback-release",
        "rollback-start",
        "rollback-verify",
    ]
    assert names(runtime.rollback_steps(store, replace(BACK, restore=False))) == [
        "baseline",
        "release",
        "start",
        "verify",
    ]
    assert names(runtime.rollback_steps(store, BACK))[:5] == [
        "baseline",
        "orders",
        "stop",
        "restore",
        "release",
    ]


async def test_dump_task_writes_dump(
    runtime: KubernetesRuntime, fake: FakeApiServer, node: Node
) -> None:
    assert await upgrade(runtime, "dump") == "The database is dumped (2,000 kB)"
    (job,) = node.jobs
    assert job["metadata"]["name"] == "dump-0123456789abcdef"
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert labels[resource_kinds.COMPONENT_LABEL] == "setup"
    assert labels[resource_kinds.TASK_LABEL] == "dump"
    assert labels[resource_kinds.STORE_LABEL] == STORE_ID
    assert (job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]) == (1, 300)
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert node.env(0) == {"STOREFLEET_DUMP": OPERATION}
    assert not [path for path in fake.objects if "/jobs/" in path], "the Job is deleted"
    notes = fake.objects[f"{HOME}/configmaps/storefleet-dumps"]["data"]
    assert json.loads(notes["op-0123456789abcdef"])["bytes"] == 2_000_000


async def test_existing_task_is_reused(
    runtime: KubernetesRuntime, fake: FakeApiServer, node: Node
) -> None:
    labels = {**LABELS, resource_kinds.COMPONENT_LABEL: "setup", resource_kinds.TASK_LABEL: "dump"}
    job = {"metadata": {"labels": labels}, "spec": {"template": {"metadata": {"labels": labels}}}}
    await fake.put(f"{BATCH}/jobs/dump-0123456789abcdef", job)
    await upgrade(runtime, "dump")
    assert fake.count("POST", "/jobs") == 0


async def test_failed_dump_changes_nothing(
    runtime: KubernetesRuntime, fake: FakeApiServer, node: Node
) -> None:
    del node.answers["dump"]
    with pytest.raises(NothingChanged) as error:
        await upgrade(runtime, "dump")
    assert error.value.code == "task_failed"
    assert "(exit 2)" in error.value.detail
    assert "password=(hidden) it went wrong" in error.value.detail
    assert not [path for path in fake.objects if "/jobs/" in path]


@pytest.mark.parametrize(
    "answer", [{"bytes": 1}, {"bytes": -1, "at": "2026-11-25T16:00:00Z"}, ["x"], {"at": "now"}]
)
async def test_unreadable_task_output_fails(
    runtime: KubernetesRuntime, node: Node, answer: Any
) -> None:
    node.answers["dump"] = answer
    with pytest.raises(NothingChanged) as error:
        await upgrade(runtime, "dump")
    assert error.value.code == "task_failed"
    assert "Correct the engine's task" in error.value.next_step


async def test_chart_without_tasks_is_rejected(
    runtime: KubernetesRuntime, fake: FakeApiServer, node: Node
) -> None:
    await fake.take(f"{BATCH}/cronjobs/dump")
    with pytest.raises(NothingChanged) as error:
        await upgrade(runtime, "dump")
    assert error.value.code == "task_missing"


async def test_unknown_version_is_rejected(runtime: KubernetesRuntime, node: Node) -> None:
    """So is a current version without a chart, which no rollback could restore."""
    for change in (
        VersionChange("1.0.0", "9.9.9", dump_operation_id=OPERATION),
        VersionChange("9.9.9", "2.0.0", dump_operation_id=OPERATION),
    ):
        with pytest.raises(NothingChanged) as error:
            await upgrade(runtime, "dump", change)
        assert error.value.code == "engine_unavailable"
    with pytest.raises(NothingChanged):
        await roll_back(
            runtime,
            "orders",
            VersionChange("2.0.0", "9.9.9", restore=True, dump_operation_id=OPERATION),
        )
    assert not node.jobs


async def test_new_orders_are_reported(runtime: KubernetesRuntime, node: Node) -> None:
    await upgrade(runtime, "dump")
    assert await roll_back(runtime, "orders") == "No orders will be lost"
    assert node.env(1) == {
        "STOREFLEET_DUMP": OPERATION,
        "STOREFLEET_SINCE": "2026-11-25T16:00:00.000Z",
    }
    node.answers["orders"] = ORDERS
    with pytest.raises(NothingChanged) as error:
        await roll_back(runtime, "orders")
    assert error.value.code == "orders_would_be_lost"
    assert "100001 (EUR 19.00, 2026-11-25T16:20:00Z); and 1 more" in error.value.detail
    assert "2 order(s) will be lost" in await roll_back(
        runtime, "orders", replace(BACK, discard_orders=True)
    )


async def test_missing_dump_is_reported(runtime: KubernetesRuntime, node: Node) -> None:
    with pytest.raises(NothingChanged) as error:
        await roll_back(runtime, "orders")
    assert error.value.code == "dump_missing"
    assert not node.jobs


async def test_only_newest_dumps_are_recorded(
    runtime: KubernetesRuntime, fake: FakeApiServer, node: Node
) -> None:
    notes = {f"op-{n}": json.dumps({"bytes": n, "at": f"2026-11-2{n}T00:00:00Z"}) for n in range(4)}
    await fake.put(f"{HOME}/configmaps/storefleet-dumps", {"data": notes})
    await upgrade(runtime, "dump")
    kept = fake.objects[f"{HOME}/configmaps/storefleet-dumps"]["data"]
    assert set(kept) == {"op-2", "op-3", "op-0123456789abcdef"}


def replicas(fake: FakeApiServer) -> int:
    found: int = fake.objects[f"{APPS}/deployments/web"]["spec"]["replicas"]
    return found


async def test_restore_stops_store_and_restores_dump(
    runtime: KubernetesRuntime, fake: FakeApiServer, node: Node
) -> None:
    await upgrade(runtime, "dump")
    assert await roll_back(runtime, "stop") == "The store is stopped"
    assert replicas(fake) == 0
    assert node.jobs[-1]["metadata"]["name"] == "recount-0123456789abcdef"
    assert "before the upgrade" in await roll_back(runtime, "restore")
    assert node.jobs[-1]["metadata"]["labels"][resource_kinds.TASK_LABEL] == "restore"


async def test_late_orders_stop_restore(
    runtime: KubernetesRuntime, fake: FakeApiServer, node: Node
) -> None:
    await upgrade(runtime, "dump")
    node.answers["orders"] = ORDERS
    with pytest.raises(NothingChanged, match="100001"):
        await roll_back(runtime, "stop")
    assert replicas(fake) == 1, "the shop goes on"
    await roll_back(runtime, "stop", replace(BACK, discard_orders=True))
    assert replicas(fake) == 0


async def test_failed_restore_leaves_store_unchanged(
    runtime: KubernetesRuntime, fake: FakeApiServer, node: Node
) -> None:
    await upgrade(runtime, "dump")
    await roll_back(runtime, "stop")
    del node.answers["restore"]
    with pytest.raises(NothingChanged) as error:
        await roll_back(runtime, "restore")
    assert error.value.code == "task_failed"
    assert replicas(fake) == 1


async def test_release_changes_version_and_keeps_database(
    runtime: KubernetesRuntime, node: Node, tmp_path: Path
) -> None:
    await upgrade(runtime, "release")
    await go_back(runtime, "rollback-release")
    await roll_back(runtime, "release")
    decoder, text, found = json.JSONDecoder(), (tmp_path / "values").read_text(), []
    while text:
        values, end = decoder.raw_decode(text)
        found.append(values)
        text = text[end:]
    assert [each["version"] for each in found] == ["2.0.0", "1.0.0", "1.0.0"]
    assert {each["database"]["image"] for each in found} == {"storefleet/pocket:old"}
    assert {each["database"]["storage"] for each in found} == {"50Mi"}


async def test_stopped_store_is_restarted(
    runtime: KubernetesRuntime, fake: FakeApiServer, node: Node
) -> None:
    """This includes charts that do not set the number of replicas."""
    await node.put_web(revision=1, replicas=0)
    await roll_back(runtime, "release")
    assert replicas(fake) == 1


async def test_rollback_deletes_tasks_without_restarting(
    runtime: KubernetesRuntime, fake: FakeApiServer, node: Node
) -> None:
    """Stuck pods belong to the old version, whose controller would recreate them."""
    await node.put_web(revision=2)
    await node.put_pod(
        2, containerStatuses=[{"name": "web", "state": {"waiting": {"reason": "ErrImagePull"}}}]
    )
    labels = {**LABELS, resource_kinds.COMPONENT_LABEL: "setup", resource_kinds.TASK_LABEL: "dump"}
    job = {"metadata": {"labels": labels}, "spec": {"template": {"metadata": {"labels": labels}}}}
    await fake.put(f"{BATCH}/jobs/dump-x", job)
    await go_back(runtime, "rollback-release")
    assert f"{BATCH}/jobs/dump-x" not in fake.objects
    assert f"{HOME}/pods/web-2" in fake.objects


async def test_only_new_pods_count_as_ready(runtime: KubernetesRuntime, node: Node) -> None:
    """The old pod is ready, which proves nothing about the new version."""
    await node.put_pod(1, phase="Running", conditions=[{"type": "Ready", "status": "True"}])
    await node.put_web(revision=2, updatedReplicas=1, readyReplicas=1, replicas=2)
    await node.put_pod(
        2, containerStatuses=[{"name": "web", "state": {"waiting": {"reason": "InvalidImageName"}}}]
    )
    with pytest.raises(PermanentError) as error:
        await upgrade(runtime, "start")
    assert error.value.code == "image_missing"
    assert "web-2" in error.value.detail


async def test_stale_cache_is_waited_for(
    runtime: KubernetesRuntime, fake: FakeApiServer, node: Node
) -> None:
    with runtime._watcher.subscribe(STORE_ID) as follow:
        assert await follow.wait_until_current(5)
        await node.put_web(revision=2, seen=False)
        said: list[str] = []

        async def report_progress(message: str) -> None:
            said.append(message)

        starting = asyncio.create_task(upgrade(runtime, "start", report_progress=report_progress))

        async def told() -> bool:
            return bool(said)

        await eventually(told, within=10)
        assert not starting.done()
        await node.put_web(revision=2)
        assert await starting == "0 pods ready"


async def test_rollback_waits_for_other_version_to_end(
    runtime: KubernetesRuntime, fake: FakeApiServer, node: Node
) -> None:
    await node.put_web(revision=2)
    await node.put_web(revision=3)
    await node.put_pod(2, phase="Pending")
    starting = asyncio.create_task(go_back(runtime, "rollback-start"))
    await asyncio.sleep(0.7)
    assert not starting.done()
    await fake.take(f"{HOME}/pods/web-2")
    await starting


SERVING = StorefrontObservation(
    storefront=StorefrontClass.SERVING, storefront_status="2xx", storefront_text="answers 200"
)


async def test_store_that_no_longer_answers_fails_upgrade_finally(
    runtime: KubernetesRuntime, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version_steps, "_UPGRADE_VERIFY_TIMEOUT_S", 0.2)
    with pytest.raises(PermanentError, match="answered 2xx before and now") as error:
        await upgrade(runtime, "verify", baseline=SERVING)
    assert error.value.code == "store_not_answering"


async def test_store_that_was_down_is_upgraded_without_comparison(
    runtime: KubernetesRuntime, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_check, "_BASELINE_TIMEOUT_S", 0.2)
    read = await step_of(runtime, "baseline")
    assert read.baseline is not None
    assert read.baseline.storefront is StorefrontClass.DOWN
    assert "Nothing will be compared" in read.message
    assert "It was not compared" in await upgrade(runtime, "verify", baseline=read.baseline)
    assert "It was not compared" in await upgrade(runtime, "verify")


async def step_of(runtime: KubernetesRuntime, name: str) -> StepResult:
    step = next(each for each in runtime.upgrade_steps(a_store(), UPGRADE) if each.name == name)
    return await step.run(StepContext(store=a_store(), operation_id=OPERATION, change=UPGRADE))


async def put_failed_setup(fake: FakeApiServer) -> str:
    """Put the set-up Job of a release, failed with a pod whose log tells why."""
    labels = {**LABELS, resource_kinds.COMPONENT_LABEL: "setup"}
    condition = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
    job = await fake.put(
        f"{BATCH}/jobs/setup-1",
        {
            "metadata": {"labels": labels},
            "spec": {},
            "status": {"failed": 1, "conditions": [condition]},
        },
    )
    ended = {"exitCode": 3, "reason": "Error"}
    await fake.put(
        f"{HOME}/pods/setup-1-x",
        {
            "metadata": {
                "labels": labels,
                "ownerReferences": [{"uid": job["metadata"]["uid"], "controller": True}],
            },
            "status": {
                "phase": "Failed",
                "containerStatuses": [{"name": "setup", "state": {"terminated": ended}}],
            },
        },
    )
    fake.logs["setup-1-x"] = "the plain permalinks"
    return str(job["metadata"]["uid"])


async def test_failed_setup_fails_upgrade_and_not_rollback(
    runtime: KubernetesRuntime, fake: FakeApiServer
) -> None:
    """The version has served before; its set-up is reported, and the store is compared."""
    node = Node(fake)
    await node.lay()
    await put_failed_setup(fake)
    with pytest.raises(PermanentError) as error:
        await upgrade(runtime, "start")
    assert error.value.code == "setup_failed"
    told = await go_back(runtime, "rollback-start")
    assert told.startswith("The store runs. The Job setup-1 has failed")
    assert "The store runs" in await roll_back(runtime, "start")
    step = next(
        each
        for each in runtime.automatic_rollback_steps(a_store(), UPGRADE)
        if each.name == "rollback-verify"
    )
    result = await step.run(StepContext(store=a_store(), operation_id=OPERATION, change=UPGRADE))
    assert result.warning.startswith("The set-up of 1.0.0 failed: The Job setup-1 has failed")
    assert "the plain permalinks" in result.warning
    assert result.warning in result.message


async def test_rollback_waits_for_web_pods_despite_failed_setup(
    runtime: KubernetesRuntime, fake: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pods of the other version still terminate when the set-up has failed already."""
    node = Node(fake)
    await node.lay()
    await put_failed_setup(fake)
    await node.put_web(revision=2)
    await node.put_web(revision=3)
    await node.put_pod(2, phase="Running")
    starting = asyncio.create_task(go_back(runtime, "rollback-start"))
    await asyncio.sleep(0.7)
    assert not starting.done()
    await fake.take(f"{HOME}/pods/web-2")
    assert "The Job setup-1 has failed" in await starting
    monkeypatch.setattr(waiter, "_WEB_TIMEOUT_S", 0.5)
    await node.put_web(revision=3, readyReplicas=0)
    with pytest.raises(PermanentError) as error:
        await go_back(runtime, "rollback-start")
    assert error.value.code == "setup_failed"


async def test_failed_setup_is_not_remembered_over_retry(
    runtime: KubernetesRuntime, fake: FakeApiServer
) -> None:
    """A Job in backoff counts, too: a rollback fails at its third failed pod."""
    node = Node(fake)
    await node.lay()
    for status in (
        {"failed": 3},
        {"failed": 4, "conditions": [{"type": "Failed", "status": "True"}]},
    ):
        labels = {**LABELS, resource_kinds.COMPONENT_LABEL: "setup"}
        await fake.put(
            f"{BATCH}/jobs/setup-1", {"metadata": {"labels": labels}, "spec": {}, "status": status}
        )
        await roll_back(runtime, "release")
        assert f"{BATCH}/jobs/setup-1" not in fake.objects


async def test_release_of_version_change_adds_missing_secrets(
    runtime: KubernetesRuntime, fake: FakeApiServer, node: Node
) -> None:
    """The store was created before its engine declared the secret; other values are kept."""
    path = f"{HOME}/secrets/store-secrets"
    for act in (upgrade, roll_back):
        await fake.put(path, {"data": {"older": "a2VwdA=="}})
        await act(runtime, "release")
        secret = fake.objects[path]["data"]
        assert secret["older"] == "a2VwdA=="
        assert len(secret["database-password"]) > 40
    complete = dict.fromkeys(secret, "a2VwdA==")
    await fake.put(path, {"data": complete})
    await go_back(runtime, "rollback-release")
    assert fake.objects[path]["data"] == complete
    del fake.objects[f"{HOME}/secrets/store-mail"]  # an earlier attempt ended before its copy
    await upgrade(runtime, "release")
    assert fake.objects[path]["data"] == complete
    assert fake.objects[f"{HOME}/secrets/store-mail"]["data"] == {"mail-key": "a2VwdA=="}


async def test_set_up_of_version_change_updates(
    runtime: KubernetesRuntime, node: Node, tmp_path: Path
) -> None:
    for act in (upgrade, roll_back):
        await act(runtime, "release")
        assert '"setupMode": "update"' in (tmp_path / "values").read_text()
        (tmp_path / "values").unlink()


async def test_resource_usage_is_measured(runtime: KubernetesRuntime, fake: FakeApiServer) -> None:
    assert await runtime.read_usage(a_store()) is None
    status = {
        "hard": {"limits.memory": "1Gi", "pods": "4"},
        "used": {"limits.memory": "640Mi", "pods": "2"},
    }
    await fake.put(f"{HOME}/resourcequotas/store", {"spec": {"hard": {}}, "status": status})
    found = await runtime.read_usage(a_store())
    assert found == [("memory limits", "640 MiB", "1 GiB", 0.625), ("pods", "2", "4", 0.5)]
    fake.refuse = lambda _: (403, 'User "gateway" cannot list resource "resourcequotas"')
    assert await runtime.read_usage(a_store()) is None


async def test_logs_end_with_newest_pod(runtime: KubernetesRuntime, fake: FakeApiServer) -> None:
    for name, when in (("web-b", "2026-11-25T16:00:00Z"), ("web-a", "2026-11-25T17:00:00Z")):
        metadata = {
            "labels": {**LABELS, resource_kinds.COMPONENT_LABEL: "web"},
            "creationTimestamp": when,
        }
        await fake.put(
            f"{HOME}/pods/{name}", {"metadata": metadata, "spec": {"containers": [{"name": "web"}]}}
        )
        fake.logs[name] = f"{name} says"
    assert await runtime.read_logs(a_store(), tail=5) == ["web-b says", "web-a says"]
