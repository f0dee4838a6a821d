"""The kubernetes runtime on a real cluster: create, fail, retry, interrupt and delete stores."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from storefleet.core.errors import PermanentError, TransientError
from storefleet.core.identifiers import generate_id, make_resource_name
from storefleet.core.models import Store
from storefleet.engines.catalogue import Engines
from storefleet.observability import metrics
from storefleet.runtimes.kubernetes.api import resource_kinds
from tests.support.cluster import (
    IN_CHANGE,
    Bench,
    bare_cluster,
    effects_in_source,
    load_pocket_image,
    opened_bench,
    platform_that_is_killed,
    through,
    until_status,
)
from tests.support.kubernetes import pocket
from tests.support.platform import Client, Platform, free_ports
from tests.support.proxy import Proxy

IN_DELETION = ("delete_namespace", "sweep_namespace")
IN_RETRY = ("free_release", "clear_stuck")


@pytest.fixture(scope="session", autouse=True)
def image(tmp_path_factory: pytest.TempPathFactory) -> None:
    load_pocket_image(tmp_path_factory.mktemp("image"))


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    async with opened_bench() as bench:
        yield bench


# a store and its end --------------------------------------------------------------------------------------------------


async def test_store_is_created_and_deleted_completely(bench: Bench) -> None:
    begun = time.monotonic()
    store = await bench.create(bench.store(title="Tea & “more”: {{ .Values }}"))
    assert time.monotonic() - begun < 20
    assert store.url == f"http://{store.name}.localhost/"
    credentials = await bench.runtime.credentials(store)
    assert credentials is not None
    assert credentials.username == f"admin@{store.name}.localhost"
    assert await bench.runtime.logs(store, tail=1) == ["pocket serves Tea & “more”: {{ .Values }}"]
    service = await bench.cluster.get(
        resource_kinds.SERVICE, "web", namespace=make_resource_name(store.id)
    )
    assert service is not None
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"http://{service['spec']['clusterIP']}/") as page,
    ):
        assert f"sold by {store.name}.localhost" in await page.text()
    begun = time.monotonic()
    await bench.delete(store)
    assert time.monotonic() - begun < 12
    assert not await bench.exists(store)
    assert await bench.runtime.logs(store, tail=10) == []
    assert await bench.runtime.credentials(store) is None
    volumes = await bench.cluster.list_objects(resource_kinds.PERSISTENT_VOLUME)
    assert make_resource_name(store.id) not in {
        (each["spec"].get("claimRef") or {}).get("namespace") for each in volumes
    }


async def test_repeated_steps_change_nothing(bench: Bench) -> None:
    store = await bench.create(bench.store())
    before, secret = await _uids(bench, store), await bench.runtime.credentials(store)
    await bench.create(store)
    assert await _uids(bench, store) == before
    assert await bench.runtime.credentials(store) == secret
    assert await bench.releases(store) == ["superseded", "deployed"]
    operation = generate_id("op")
    await bench.step(store, "release", operation=operation)
    await bench.step(store, "release", operation=operation)
    assert len(await bench.releases(store)) == 3, "a step that is taken over does not install twice"
    await bench.delete(store)
    await bench.delete(store)


async def _uids(bench: Bench, store: Store) -> set[str]:
    every = [
        await bench.cluster.list_objects(kind, namespace=make_resource_name(store.id))
        for kind in (
            resource_kinds.POD,
            *resource_kinds.WORKLOAD_KINDS,
            resource_kinds.SERVICE,
            resource_kinds.PERSISTENT_VOLUME_CLAIM,
            resource_kinds.RESOURCE_QUOTA,
        )
    ]
    return {each["metadata"]["uid"] for found in every for each in found}


async def test_namespace_rejects_unsafe_and_oversized_pods(bench: Bench) -> None:
    store = bench.store()
    await bench.step(store, "namespace")
    container: dict[str, Any] = {"name": "x", "image": "storefleet/pocket:1.0.0"}
    large = {**container, "resources": {"limits": {"memory": "10Gi"}}}
    for spec in (
        {"containers": [container]},
        {"containers": [container], "hostNetwork": True},
        {"containers": [container], "volumes": [{"name": "x", "hostPath": {"path": "/"}}]},
        {"containers": [large]},
    ):
        manifest = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "x", "namespace": make_resource_name(store.id)},
            "spec": spec,
        }
        with pytest.raises(PermanentError) as error:
            await bench.cluster.create(manifest)
        assert error.value.code in ("pod_refused", "quota_exceeded")


async def test_concurrent_creations_share_watches(bench: Bench) -> None:
    before = _requests("WATCH")
    stores = await asyncio.gather(*(bench.create(bench.store(), within=90) for _ in range(5)))
    assert _requests("WATCH") - before <= 8
    await asyncio.gather(*(bench.delete(store, within=90) for store in stores))


def _requests(verb: str = "") -> float:
    (family,) = metrics.KUBERNETES_REQUESTS.collect()
    return sum(
        sample.value
        for sample in family.samples
        if sample.name.endswith("_total") and verb in ("", sample.labels["verb"])
    )


async def test_idle_runtime_sends_no_requests(bench: Bench) -> None:
    await bench.create(bench.store())
    before = _requests()
    await asyncio.sleep(10)
    assert _requests() - before <= 2


# what goes wrong ------------------------------------------------------------------------------------------------------


TROUBLES = (
    (
        "image",
        "image_missing",
        130,
        "no-such-image",
    ),  # the node itself retries for most of this time
    ("quota", "quota_exceeded", 45, "exceeded quota: store"),
    ("database-quota", "quota_exceeded", 45, "exceeded quota: store"),
    ("root", "pod_refused", 45, "runAsNonRoot"),
    ("unschedulable", "unschedulable", 65, "0/1 nodes are available"),
    ("setup", "setup_failed", 60, "setup cannot go on: password=(hidden) ((hidden))"),
    ("crash", "store_crashes", 90, "no use: password=(hidden) ((hidden))"),
)


async def test_failed_creations_name_their_cause(bench: Bench) -> None:
    """Run all concurrently: most of the time passes in grace periods."""
    await asyncio.gather(*(_is_named(bench, *trouble) for trouble in TROUBLES))


async def _is_named(bench: Bench, trouble: str, code: str, within: float, words: str) -> None:
    store = bench.store(trouble=trouble)
    error = await bench.fails(store, within=within)
    assert error.code == code, trouble
    assert words in error.detail, trouble
    assert error.next_step
    await bench.delete(store, within=150)


async def test_retry_continues_after_cause_is_fixed(bench: Bench) -> None:
    await asyncio.gather(*(_goes_on(bench, bench, trouble) for trouble in ("setup", "crash")))


async def test_retry_continues_with_larger_plan(bench: Bench) -> None:
    async with opened_bench(engines=_generous()) as better:
        await asyncio.gather(
            *(_goes_on(bench, better, trouble) for trouble in ("quota", "database-quota"))
        )


async def _goes_on(bench: Bench, mended: Bench, trouble: str) -> None:
    store = bench.store(trouble=trouble)
    await bench.fails(store)
    await bench.bless(store)
    await asyncio.sleep(10)  # by now the controllers' own backoff exceeds the limit below
    await mended.create(store, within=30)
    await bench.delete(store)


def _generous() -> Engines:
    engine = pocket()
    assert engine.kubernetes
    plan = engine.kubernetes.plan
    larger = plan.model_copy(
        update={"quota": {**plan.quota, "requests.memory": "1Gi", "limits.memory": "1Gi"}}
    )
    kubernetes = engine.kubernetes.model_copy(update={"plans": {"small": larger}})
    return Engines([engine.model_copy(update={"kubernetes": kubernetes})], runtime="kubernetes")


async def test_foreign_namespace_is_never_changed(bench: Bench) -> None:
    store = bench.store()
    foreign = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": make_resource_name(store.id)},
    }
    await bench.cluster.apply(foreign)
    for act in (bench.create, bench.delete):
        with pytest.raises(PermanentError) as error:
            await act(store)
        assert error.value.code == "namespace_foreign"
    namespace = await bench.cluster.get(resource_kinds.NAMESPACE, make_resource_name(store.id))
    assert namespace is not None
    assert "deletionTimestamp" not in namespace["metadata"]
    assert (
        await bench.cluster.list_objects(
            resource_kinds.SECRET, namespace=make_resource_name(store.id)
        )
        == []
    )


# interrupted ----------------------------------------------------------------------------------------------------------


def _helm_processes() -> list[int]:
    """Return the ids of the Helm processes that this process started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, rest = stat.read_text().rpartition(")")[::2]
            if (
                int(rest.split()[1]) == os.getpid()
                and name.endswith("(helm")
                and rest.split()[0] != "Z"
            ):
                found.append(int(stat.parent.name))
    return found


@pytest.mark.parametrize("status", ["pending-install", "pending-upgrade"])
async def test_release_recovers_from_helm_killed_in_pending_status(
    bench: Bench, status: str
) -> None:
    store = await _died(bench, status)
    await bench.create(store)
    assert (await bench.releases(store))[-1] == "deployed"
    assert any(status in message for message in bench.said)
    web = await bench.cluster.list_objects(
        resource_kinds.DEPLOYMENT, namespace=make_resource_name(store.id)
    )
    assert [each["metadata"]["name"] for each in web] == ["web"], "created once"
    await bench.delete(store)


async def _died(bench: Bench, status: str) -> Store:
    """Return a store whose Helm run was killed in `status`; retry, as the moment is short."""
    for _ in range(10):
        store = bench.store()
        await bench.step(store, "namespace")
        if status == "pending-upgrade":
            await bench.step(store, "release")
        task = asyncio.create_task(bench.step(store, "release"))
        await until_status(bench, store, status)
        for process in _helm_processes():
            os.kill(process, signal.SIGKILL)
        try:
            await task
        except TransientError as error:
            assert error.code == "release_interrupted"  # noqa: PT017 - or Helm finished before the kill
        if status in await bench.releases(store):
            return store
    raise AssertionError("Helm finished before the kill ten times")


async def test_release_recovers_from_helm_killed_at_any_time(bench: Bench) -> None:
    store = bench.store()
    await bench.step(store, "namespace")
    for after in (0.02, 0.05, 0.08, 0.11, 0.14, 0.17, 0.2, 0.23, 0.26, 0.3, 0.35, 0.4):
        task = asyncio.create_task(bench.step(store, "release"))
        await asyncio.sleep(after)
        for process in _helm_processes():
            os.kill(process, signal.SIGKILL)
        with contextlib.suppress(TransientError):
            await task
    await bench.create(store)
    await bench.delete(store)


async def test_cancelled_step_ends_helm_process(bench: Bench) -> None:
    store = bench.store()
    await bench.step(store, "namespace")
    for after in (0.05, 0.15, 0.25):
        task = asyncio.create_task(bench.step(store, "release"))
        await asyncio.sleep(after)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert _helm_processes() == []
    await bench.create(store)
    await bench.delete(store)


@pytest.mark.parametrize("last", ["namespace", "release"])
async def test_partial_creation_can_be_deleted(bench: Bench, last: str) -> None:
    store = bench.store()
    for step in bench.runtime.create_steps(store):
        await step.run(bench.work(store))
        if step.name == last:
            break
    await bench.delete(store)
    assert not await bench.exists(store)


async def test_creation_survives_cut_and_frozen_connections(tmp_path: Path) -> None:
    """Cut while Helm runs and while watches are open, and freeze without closing."""
    (port,) = free_ports(1)
    config, (host, target) = through(port, tmp_path)
    proxy = Proxy(port, target, host)
    await proxy.mend()
    try:
        async with opened_bench(config=config) as bench:
            async with asyncio.TaskGroup() as group:
                slow = [bench.store(trouble="slow") for _ in range(3)]
                creations = [group.create_task(bench.create(store, within=120)) for store in slow]
                for pause in (0.3, 2, 3):
                    await asyncio.sleep(pause)
                    await proxy.cut()
                    await asyncio.sleep(pause)
                    await proxy.mend()
                await asyncio.sleep(5)
                proxy.freeze()
                await asyncio.sleep(3)
                await proxy.mend()
            for creation in creations:
                assert (await bench.releases(creation.result()))[-1] == "deployed"
                await bench.delete(creation.result())
    finally:
        await proxy.cut()


async def test_operations_survive_api_server_outage_of_a_minute(bench: Bench) -> None:
    """Creations and deletions in all their steps wait and continue."""
    leaving = await bench.create(bench.store())
    async with asyncio.TaskGroup() as group:
        group.create_task(bench.delete(leaving, within=300))
        creations = []
        for _ in range(3):
            creations.append(
                group.create_task(bench.create(bench.store(trouble="slow"), within=300))
            )
            await asyncio.sleep(0.7)
        await asyncio.to_thread(bare_cluster, "stop", "kube-apiserver")
        try:
            creations.append(group.create_task(bench.create(bench.store(), within=300)))
            await asyncio.sleep(60)
        finally:
            await asyncio.to_thread(bare_cluster, "start", "kube-apiserver")
    for creation in creations:
        store = creation.result()
        assert (await bench.releases(store))[-1] == "deployed"
        web = await bench.cluster.list_objects(
            resource_kinds.DEPLOYMENT, namespace=make_resource_name(store.id)
        )
        assert len(web) == 1
    await asyncio.gather(*(bench.delete(creation.result(), within=150) for creation in creations))


# the whole platform, killed at every effect ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with platform_that_is_killed(tmp_path_factory.mktemp("platform")) as platform:
        yield platform


async def test_process_killed_at_every_effect_reaches_same_end(
    platform: Platform, bench: Bench
) -> None:
    armed, visited = (
        Path(platform.settings["failpoint_file"]),
        Path(platform.settings["failpoint_log"]),
    )
    async with Client(platform) as client:
        visited.write_text("")
        await _gone(client, (await client.made("first"))["id"])
        retried = await _retried(client, bench)
        points = effects_in_source() - {
            f"{effect}:{side}" for effect in IN_CHANGE for side in ("before", "after")
        }
        assert points - set(visited.read_text().split()) == set()
        leaving = [asyncio.create_task(_gone(client, retried))]
        for number, point in enumerate(sorted(points)):
            effect = point.partition(":")[0]
            if effect in IN_DELETION:
                store_id = (await client.made(f"killed-{number}"))["id"]
                await asyncio.gather(
                    *leaving
                )  # otherwise one of them could visit the failpoint first
                armed.write_text(point)
                await _gone(client, store_id)
            elif effect in IN_RETRY:
                leaving.append(
                    asyncio.create_task(_gone(client, await _retried(client, bench, armed, point)))
                )
            else:
                armed.write_text(point)
                store = await client.made(f"killed-{number}")
                assert store["state"] == "ready"
                leaving.append(asyncio.create_task(_gone(client, store["id"])))
            assert not armed.exists(), f"{point} was not visited"
        await asyncio.gather(*leaving)
    assert not [line for line in platform.log_lines() if line.get("level") in ("error", "critical")]


async def _gone(client: Client, store_id: str) -> None:
    answer = await client.delete(store_id)
    operation = await client.ended(answer["operation"]["id"], within=120)
    assert operation["state"] == "succeeded", operation


async def _retried(client: Client, bench: Bench, armed: Path | None = None, point: str = "") -> str:
    """Fail a creation, leave its release pending as a killed Helm does, then retry it."""
    answer = await client.create(f"retried-{time.monotonic_ns()}", parameters={"trouble": "setup"})
    store_id: str = answer["store"]["id"]
    operation = await client.ended(answer["operation"]["id"], within=120)
    assert operation["error"]["code"] == "setup_failed", operation
    namespace = make_resource_name(store_id)
    (record,) = await bench.cluster.list_objects(
        resource_kinds.SECRET, namespace=namespace, labels="owner=helm"
    )
    change = {"metadata": {"labels": {"status": "pending-upgrade"}}}
    await bench.cluster.patch(
        resource_kinds.SECRET, record["metadata"]["name"], change, namespace=namespace
    )
    blessing = {"name": "blessing", "namespace": namespace}
    content = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": blessing,
        "stringData": {"blessing": "yes"},
    }
    await bench.cluster.apply(content)
    if armed:
        armed.write_text(point)
    _, answer = await client.insist("POST", f"stores/{store_id}/retry")
    operation = await client.ended(answer["operation"]["id"], within=120)
    assert operation["state"] == "succeeded", operation
    return store_id
