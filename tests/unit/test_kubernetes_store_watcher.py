"""The store watcher: one watch per kind, which survives every interruption."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest_asyncio

from storefleet.core.errors import PermanentError, RuntimeUnavailable
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.client import KubernetesClient
from storefleet.runtimes.kubernetes.api.watcher import StoreSubscription, StoreWatcher, WatchTimings
from tests.support.cluster.fake_api_server import FakeApiServer, run_fake_api_server
from tests.support.cluster.samples import NAMESPACE, STORE_ID
from tests.support.services.polling import eventually

QUICK = WatchTimings(
    min_watch_s=30,
    max_watch_s=30,
    idle_timeout_s=20,
    min_backoff_s=0.02,
    max_backoff_s=0.05,
    min_healthy_watch_s=0.01,
)
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
OTHER_ID, OTHER_PODS = "sto_zzzzzzzzzzzzzzzz", "/api/v1/namespaces/st-zzzzzzzzzzzzzzzz/pods"


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakeApiServer]:
    async with run_fake_api_server() as fake:
        yield fake


@pytest_asyncio.fixture
async def cluster(fake: FakeApiServer, tmp_path: Path) -> AsyncIterator[KubernetesClient]:
    async with KubernetesClient(kubeconfig=fake.kubeconfig(tmp_path)).open_resources() as cluster:
        yield cluster


@pytest_asyncio.fixture
async def watching(cluster: KubernetesClient) -> AsyncIterator[StoreWatcher]:
    async with StoreWatcher(cluster, timings=QUICK).open_resources() as watching:
        yield watching


def pod(phase: str = "Pending", store_id: str = STORE_ID) -> dict[str, Any]:
    return {
        "metadata": {
            "labels": {resource_kinds.STORE_LABEL: store_id, resource_kinds.COMPONENT_LABEL: "web"}
        },
        "status": {"phase": phase},
    }


async def until(follow: StoreSubscription, wanted: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not wanted():
            await follow.wait_for_change(0.5)
            follow.take_snapshot()


def phases(watching: StoreWatcher, store_id: str = STORE_ID) -> list[str]:
    return sorted(pod.phase for pod in watching.take_snapshot(store_id).pods)


async def test_watch_starts_with_first_follower(
    watching: StoreWatcher, fake: FakeApiServer
) -> None:
    await asyncio.sleep(0.1)
    assert fake.asked == []


async def test_one_watch_per_kind_serves_all_stores(
    watching: StoreWatcher, fake: FakeApiServer
) -> None:
    await fake.put(f"{PODS}/a", pod())
    await fake.put(f"{OTHER_PODS}/b", pod("Running", OTHER_ID))
    with watching.subscribe(STORE_ID) as follow, watching.subscribe(OTHER_ID):
        assert await follow.wait_until_current(30)
        await until(follow, lambda: fake.count("GET", "watch=1") == 5)
        assert (phases(watching), phases(watching, OTHER_ID)) == (["Pending"], ["Running"])
        await fake.put(f"{PODS}/a", pod("Running"))
        await until(follow, lambda: phases(watching) == ["Running"])
        await fake.take(f"{PODS}/a")
        await until(follow, lambda: phases(watching) == [])
    assert len(fake.asked) == 10
    assert all("labelSelector=storefleet.dev/store" in path for _, path in fake.asked)
    assert all("/namespaces/" not in path for _, path in fake.asked)


async def test_only_changed_store_is_woken(watching: StoreWatcher, fake: FakeApiServer) -> None:
    with watching.subscribe(STORE_ID) as follow, watching.subscribe(OTHER_ID) as other:
        assert await follow.wait_until_current(30)
        await until(follow, lambda: fake.count("GET", "watch=1") == 5)
        other.take_snapshot()
        await fake.put(f"{PODS}/a", pod())
        await until(follow, lambda: phases(watching) == ["Pending"])
        assert not other._changed.is_set()


async def test_label_in_foreign_namespace_is_ignored(
    watching: StoreWatcher, fake: FakeApiServer
) -> None:
    await fake.put("/api/v1/namespaces/default/pods/a", pod())
    await fake.put(f"{OTHER_PODS}/b", pod())
    with watching.subscribe(STORE_ID) as follow:
        assert await follow.wait_until_current(30)
        await fake.put("/api/v1/namespaces/default/pods/c", pod())
        await fake.put(f"{PODS}/d", pod("Running"))
        await until(follow, lambda: phases(watching) == ["Running"])


async def test_watch_resumes_at_last_resource_version(
    fake: FakeApiServer, cluster: KubernetesClient
) -> None:
    async with StoreWatcher(
        cluster, timings=QUICK._replace(min_watch_s=1, max_watch_s=1)
    ).open_resources() as watching:
        with watching.subscribe(STORE_ID) as follow:
            await until(follow, lambda: fake.count("GET", "pods?watch=1") == 2)
            await fake.put(f"{PODS}/a", pod())
            await until(follow, lambda: phases(watching) == ["Pending"])
            assert watching.sync_error is None
    assert fake.count("GET", "pods?limit") == 1


async def test_watch_resumes_at_bookmark(fake: FakeApiServer, cluster: KubernetesClient) -> None:
    async with StoreWatcher(
        cluster, timings=QUICK._replace(min_watch_s=1, max_watch_s=1)
    ).open_resources() as watching:
        with watching.subscribe(STORE_ID) as follow:
            await until(follow, lambda: fake.count("GET", "pods?watch=1") == 1)
            await fake.bookmark()
            await asyncio.sleep(0.1)
            await fake.forget()  # only what came before the bookmark
            fake._oldest -= 1
            await until(follow, lambda: fake.count("GET", "pods?watch=1") == 2)
    assert fake.count("GET", "pods?limit") == 1


async def test_expired_resource_version_relists(
    fake: FakeApiServer, cluster: KubernetesClient
) -> None:
    await fake.put(f"{PODS}/a", pod())
    async with StoreWatcher(
        cluster, timings=QUICK._replace(min_watch_s=1, max_watch_s=1)
    ).open_resources() as watching:
        with watching.subscribe(STORE_ID) as follow:
            await until(follow, lambda: phases(watching) == ["Pending"])
            await until(follow, lambda: fake.count("GET", "pods?watch=1") == 1)
            fake.objects[f"{PODS}/a"]["status"]["phase"] = "Running"  # without an event
            await fake.forget()
            await until(follow, lambda: phases(watching) == ["Running"])
    assert fake.count("GET", "pods?limit") == 2


async def test_broken_connection_is_resumed(watching: StoreWatcher, fake: FakeApiServer) -> None:
    with watching.subscribe(STORE_ID) as follow:
        await until(follow, lambda: fake.count("GET", "watch=1") == 5)
        await fake.cut()
        await fake.put(f"{PODS}/a", pod())
        await until(follow, lambda: phases(watching) == ["Pending"])
        assert watching.sync_error is None


async def test_silent_watch_times_out(fake: FakeApiServer, cluster: KubernetesClient) -> None:
    async with StoreWatcher(
        cluster, timings=QUICK._replace(idle_timeout_s=0.2)
    ).open_resources() as watching:
        with watching.subscribe(STORE_ID) as follow:
            await until(follow, lambda: fake.count("GET", "pods?limit") == 3)
            assert watching.sync_error is None


async def test_watch_retries_without_limit(watching: StoreWatcher, fake: FakeApiServer) -> None:
    await fake.put(f"{PODS}/a", pod())
    with watching.subscribe(STORE_ID) as follow:
        await until(follow, lambda: phases(watching) == ["Pending"])
        await fake.stop()
        await until(follow, lambda: isinstance(watching.sync_error, RuntimeUnavailable))
        assert phases(watching) == ["Pending"], "what is known stays"
        assert watching.restored_at == -math.inf
        await asyncio.sleep(0.5)
        fake.objects.clear()
        await fake.start()
        assert await follow.wait_until_current(30)
        await until(follow, lambda: phases(watching) == [])
        assert 0 <= time.monotonic() - watching.restored_at < 30


async def test_forbidden_list_is_reported(watching: StoreWatcher, fake: FakeApiServer) -> None:
    fake.refuse = lambda request: (
        (403, 'User "x" cannot list resource "jobs"') if "jobs" in request.path else None
    )
    with watching.subscribe(STORE_ID) as follow:
        await eventually(lambda: isinstance(follow.sync_error, PermanentError))
        assert not await follow.wait_until_current(0)
        fake.refuse = None
        assert await follow.wait_until_current(30)


async def test_immediately_ended_watches_back_off(
    fake: FakeApiServer, cluster: KubernetesClient
) -> None:
    async def ends(*_: object) -> None:
        return

    fake._stream = ends  # type: ignore[method-assign]
    pace = QUICK._replace(min_backoff_s=0.1, max_backoff_s=0.3, min_healthy_watch_s=0.5)
    async with StoreWatcher(cluster, timings=pace).open_resources() as watching:
        with watching.subscribe(STORE_ID):
            await asyncio.sleep(1)
            await eventually(lambda: fake.count("GET", "pods?watch=1") >= 2)
    assert fake.count("GET", "pods?watch=1") <= 12


async def test_unreadable_event_does_not_stop_watch(
    watching: StoreWatcher, fake: FakeApiServer
) -> None:
    await fake.put(f"{PODS}/a", pod())
    fake.objects[f"{PODS}/a"]["status"] = "what?"
    with watching.subscribe(STORE_ID) as follow:
        await until(
            follow,
            lambda: (
                isinstance(watching.sync_error, RuntimeUnavailable)
                and fake.count("GET", "pods?limit") > 2
            ),
        )
        fake.objects[f"{PODS}/a"]["status"] = {"phase": "Running"}
        await until(follow, lambda: phases(watching) == ["Running"])


async def test_cached_pods_per_store_are_limited(
    watching: StoreWatcher, fake: FakeApiServer
) -> None:
    for number in range(150):
        await fake.put(f"{PODS}/listed-{number}", pod())
    with watching.subscribe(STORE_ID) as follow:
        assert await follow.wait_until_current(30)
        await until(follow, lambda: fake.count("GET", "watch=1") == 5)
        for number in range(150):
            await fake.put(f"{PODS}/watched-{number}", pod())
        await fake.put(f"{PODS}/listed-0", pod("Running"))
        await until(follow, lambda: "Running" in phases(watching))
        assert len(watching.take_snapshot(STORE_ID).pods) == 200


async def test_watch_stops_with_service(fake: FakeApiServer, cluster: KubernetesClient) -> None:
    async with StoreWatcher(cluster, timings=QUICK).open_resources() as watching:
        with watching.subscribe(STORE_ID) as follow:
            assert await follow.wait_until_current(30)
            tasks = list(watching._tasks)
    assert all(task.done() for task in tasks)
    with contextlib.suppress(AttributeError):
        assert not watching._subscribers
