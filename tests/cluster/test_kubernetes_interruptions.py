"""Creations on a real cluster survive killed Helm runs, cut connections and API outages."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from storefleet.core.errors import TransientError
from storefleet.core.identifiers import make_resource_name
from storefleet.core.models import Store
from storefleet.runtimes.kubernetes.api import resource_kinds
from tests.support.cluster.runtime_bench import (
    Bench,
    load_pocket_image,
    make_proxied_kubeconfig,
    open_bench,
    run_bare_cluster,
    wait_for_status,
)
from tests.support.services.platform import free_ports
from tests.support.services.proxy import Proxy


@pytest.fixture(scope="session", autouse=True)
def image(tmp_path_factory: pytest.TempPathFactory) -> None:
    load_pocket_image(tmp_path_factory.mktemp("image"))


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    async with open_bench() as bench:
        yield bench


def _list_helm_processes() -> list[int]:
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
    store = await _make_store_with_killed_helm(bench, status)
    await bench.create(store)
    assert (await bench.list_release_statuses(store))[-1] == "deployed"
    assert any(status in message for message in bench.messages)
    web = await bench.cluster.list_objects(
        resource_kinds.DEPLOYMENT, namespace=make_resource_name(store.id)
    )
    assert [each["metadata"]["name"] for each in web] == ["web"], "created once"
    await bench.delete(store)


async def _make_store_with_killed_helm(bench: Bench, status: str) -> Store:
    """Return a store whose Helm run was killed in `status`; retry, as the moment is short."""
    for _ in range(10):
        store = bench.make_store()
        await bench.run_step(store, "namespace")
        if status == "pending-upgrade":
            await bench.run_step(store, "release")
        task = asyncio.create_task(bench.run_step(store, "release"))
        await wait_for_status(bench, store, status)
        for process in _list_helm_processes():
            os.kill(process, signal.SIGKILL)
        try:
            await task
        except TransientError as error:
            assert error.code == "release_interrupted"  # noqa: PT017 - or Helm finished before the kill
        if status in await bench.list_release_statuses(store):
            return store
    raise AssertionError("Helm finished before the kill ten times")


async def test_release_recovers_from_helm_killed_at_any_time(bench: Bench) -> None:
    store = bench.make_store()
    await bench.run_step(store, "namespace")
    for after in (0.02, 0.05, 0.08, 0.11, 0.14, 0.17, 0.2, 0.23, 0.26, 0.3, 0.35, 0.4):
        task = asyncio.create_task(bench.run_step(store, "release"))
        await asyncio.sleep(after)
        for process in _list_helm_processes():
            os.kill(process, signal.SIGKILL)
        with contextlib.suppress(TransientError):
            await task
    await bench.create(store)
    await bench.delete(store)


async def test_cancelled_step_ends_helm_process(bench: Bench) -> None:
    store = bench.make_store()
    await bench.run_step(store, "namespace")
    for after in (0.05, 0.15, 0.25):
        task = asyncio.create_task(bench.run_step(store, "release"))
        await asyncio.sleep(after)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert _list_helm_processes() == []
    await bench.create(store)
    await bench.delete(store)


@pytest.mark.parametrize("last", ["namespace", "release"])
async def test_partial_creation_can_be_deleted(bench: Bench, last: str) -> None:
    store = bench.make_store()
    for step in bench.runtime.create_steps(store):
        await step.run(bench.make_context(store))
        if step.name == last:
            break
    await bench.delete(store)
    assert not await bench.exists(store)


async def test_creation_survives_cut_and_frozen_connections(tmp_path: Path) -> None:
    """Cut while Helm runs and while watches are open, and freeze without closing."""
    (port,) = free_ports(1)
    config, (host, target) = make_proxied_kubeconfig(port, tmp_path)
    proxy = Proxy(port, target, host)
    await proxy.mend()
    try:
        async with open_bench(config=config) as bench:
            async with asyncio.TaskGroup() as group:
                slow = [bench.make_store(trouble="slow") for _ in range(3)]
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
                assert (await bench.list_release_statuses(creation.result()))[-1] == "deployed"
                await bench.delete(creation.result())
    finally:
        await proxy.cut()


async def test_operations_survive_api_server_outage_of_a_minute(bench: Bench) -> None:
    """Creations and deletions in all their steps wait and continue."""
    leaving = await bench.create(bench.make_store())
    async with asyncio.TaskGroup() as group:
        group.create_task(bench.delete(leaving, within=300))
        creations = []
        for _ in range(3):
            creations.append(
                group.create_task(bench.create(bench.make_store(trouble="slow"), within=300))
            )
            await asyncio.sleep(0.7)
        await asyncio.to_thread(run_bare_cluster, "stop", "kube-apiserver")
        try:
            creations.append(group.create_task(bench.create(bench.make_store(), within=300)))
            await asyncio.sleep(60)
        finally:
            await asyncio.to_thread(run_bare_cluster, "start", "kube-apiserver")
    for creation in creations:
        store = creation.result()
        assert (await bench.list_release_statuses(store))[-1] == "deployed"
        web = await bench.cluster.list_objects(
            resource_kinds.DEPLOYMENT, namespace=make_resource_name(store.id)
        )
        assert len(web) == 1
    await asyncio.gather(*(bench.delete(creation.result(), within=150) for creation in creations))
