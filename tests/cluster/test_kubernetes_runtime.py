"""The kubernetes runtime on a real cluster: create and delete stores, and stay idle."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from storefleet.core.errors import PermanentError
from storefleet.core.identifiers import generate_id, make_resource_name
from storefleet.core.models import Store
from storefleet.observability import metrics
from storefleet.runtimes.kubernetes.api import resource_kinds
from tests.support.cluster.runtime_bench import Bench, load_pocket_image, open_bench


@pytest.fixture(scope="session", autouse=True)
def image(tmp_path_factory: pytest.TempPathFactory) -> None:
    load_pocket_image(tmp_path_factory.mktemp("image"))


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    async with open_bench() as bench:
        yield bench


async def test_store_is_created_and_deleted_completely(bench: Bench) -> None:
    begun = time.monotonic()
    store = await bench.create(bench.make_store(title="🫖 Tea & “more”: {{ .Values }} $$(id)"))
    assert time.monotonic() - begun < 20
    assert store.url == f"http://{store.name}.localhost/"
    credentials = await bench.runtime.read_credentials(store)
    assert credentials is not None
    assert credentials.username == f"admin@{store.name}.localhost"
    assert await bench.runtime.read_logs(store, tail=1) == [
        "pocket serves 🫖 Tea & “more”: {{ .Values }} $$(id)"
    ]
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
    assert await bench.runtime.read_logs(store, tail=10) == []
    assert await bench.runtime.read_credentials(store) is None
    volumes = await bench.cluster.list_objects(resource_kinds.PERSISTENT_VOLUME)
    assert make_resource_name(store.id) not in {
        (each["spec"].get("claimRef") or {}).get("namespace") for each in volumes
    }


async def test_repeated_steps_change_nothing(bench: Bench) -> None:
    store = await bench.create(bench.make_store())
    before, secret = await _list_uids(bench, store), await bench.runtime.read_credentials(store)
    await bench.create(store)
    assert await _list_uids(bench, store) == before
    assert await bench.runtime.read_credentials(store) == secret
    assert await bench.list_release_statuses(store) == ["superseded", "deployed"]
    operation = generate_id("op")
    await bench.run_step(store, "release", operation=operation)
    await bench.run_step(store, "release", operation=operation)
    assert len(await bench.list_release_statuses(store)) == 3, (
        "a step that is taken over does not install twice"
    )
    await bench.delete(store)
    await bench.delete(store)


async def _list_uids(bench: Bench, store: Store) -> set[str]:
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
    store = bench.make_store()
    await bench.run_step(store, "namespace")
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
    before = _count_requests("WATCH")
    stores = await asyncio.gather(*(bench.create(bench.make_store(), within=90) for _ in range(5)))
    assert _count_requests("WATCH") - before <= 8
    await asyncio.gather(*(bench.delete(store, within=90) for store in stores))


def _count_requests(verb: str = "") -> float:
    (family,) = metrics.KUBERNETES_REQUESTS.collect()
    return sum(
        sample.value
        for sample in family.samples
        if sample.name.endswith("_total") and verb in ("", sample.labels["verb"])
    )


async def test_idle_runtime_sends_no_requests(bench: Bench) -> None:
    await bench.create(bench.make_store())
    before = _count_requests()
    await asyncio.sleep(10)
    assert _count_requests() - before <= 2
