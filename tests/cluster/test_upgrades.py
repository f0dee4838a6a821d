"""Version changes on a real cluster: upgrades, rollbacks and automatic rollbacks."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from storefleet.core.errors import NothingChanged, PermanentError
from storefleet.core.identifiers import generate_id, make_resource_name
from storefleet.core.models import Store
from storefleet.runtimes.kubernetes.api import resource_kinds
from tests.support.cluster import (
    IN_CHANGE,
    Bench,
    load_pocket_image,
    opened_bench,
    platform_that_is_killed,
)
from tests.support.platform import Client, Platform

BACK_WITHIN = 90.0
LONGEST_GAP = 5.0


@pytest.fixture(scope="session", autouse=True)
def image(tmp_path_factory: pytest.TempPathFactory) -> None:
    load_pocket_image(tmp_path_factory.mktemp("image"))


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    async with opened_bench() as bench:
        yield bench


class Shopper:
    """Requests the store's page every 100 ms; `gap` is the longest time without a response."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.gap = 0.0
        self.failed = 0
        self.versions: list[str] = []

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=2)
        connector = aiohttp.TCPConnector(force_close=True)
        last = time.monotonic()
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
            while True:
                version = await self._ask(http)
                now = time.monotonic()
                self.gap = max(self.gap, now - last)
                if version:
                    last = now
                    if version not in self.versions[-1:]:
                        self.versions.append(version)
                else:
                    self.failed += 1
                await asyncio.sleep(0.1)

    async def _ask(self, http: aiohttp.ClientSession) -> str:
        try:
            async with http.get(f"{self.address}/") as page:
                text = await page.text()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return ""
        return text.rpartition("version ")[2].strip() if page.status == 200 else ""


async def address(bench: Bench, store: Store) -> str:
    service = await bench.cluster.get(
        resource_kinds.SERVICE, "web", namespace=make_resource_name(store.id)
    )
    assert service is not None
    return f"http://{service['spec']['clusterIP']}"


@asynccontextmanager
async def shopping(bench: Bench, store: Store) -> AsyncIterator[Shopper]:
    shopper = Shopper(await address(bench, store))
    task = asyncio.create_task(shopper.run())
    try:
        yield shopper
        await asyncio.sleep(0.5)
    finally:
        task.cancel()


async def ask(bench: Bench, store: Store, path: str) -> str:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{await address(bench, store)}{path}") as page,
    ):
        return (await page.text()).strip()


async def order(bench: Bench, store: Store, number: str) -> None:
    assert await ask(bench, store, f"/cgi-bin/order?{number}") == "ordered"


async def left(bench: Bench, store: Store, *, leaving: bool = False) -> dict[str, list[str]]:
    """Return task Jobs and unready pods; terminating pods count only with `leaving`."""
    namespace = make_resource_name(store.id)
    jobs = await bench.cluster.list_objects(resource_kinds.JOB, namespace=namespace)
    pods = await bench.cluster.list_objects(resource_kinds.POD, namespace=namespace)
    unready = [
        pod["metadata"]["name"]
        for pod in pods
        if pod["status"]["phase"] != "Succeeded"
        and (leaving or "deletionTimestamp" not in pod["metadata"])
        and not any(
            c["type"] == "Ready" and c["status"] == "True"
            for c in pod["status"].get("conditions", ())
        )
    ]
    return {
        "tasks": [
            each["metadata"]["name"]
            for each in jobs
            if resource_kinds.TASK_LABEL in each["metadata"]["labels"]
        ],
        "pods": unready,
    }


NOTHING: dict[str, list[str]] = {"tasks": [], "pods": []}


async def test_upgrade_and_rollback_keep_store_serving(bench: Bench) -> None:
    """The order is kept, the database keeps running, and the store keeps serving."""
    store = await bench.create(bench.store())
    await order(bench, store, "first")
    (database,) = await pods_of(bench, store, "database")
    async with shopping(bench, store) as shopper:
        store = await bench.upgrade(store, "2.0.0")
        assert await bench.runtime.logs(store, tail=1) == ["pocket serves Pocket shop"]
        store = await bench.upgrade(store, "2.1.0")
        store = await bench.roll_back(store, "2.0.0")
    assert (shopper.versions[0], shopper.versions[-1]) == ("1.0.0", "2.0.0")
    assert set(shopper.versions) == {"1.0.0", "2.0.0", "2.1.0"}
    assert shopper.gap < LONGEST_GAP
    assert "first" in await ask(bench, store, "/cgi-bin/orders")
    assert await pods_of(bench, store, "database") == [database]
    assert await left(bench, store) == NOTHING
    await bench.delete(store)


async def pods_of(bench: Bench, store: Store, component: str) -> list[str]:
    labels = f"{resource_kinds.COMPONENT_LABEL}={component}"
    pods = await bench.cluster.list_objects(
        resource_kinds.POD, namespace=make_resource_name(store.id), labels=labels
    )
    return [each["metadata"]["uid"] for each in pods]


async def test_rollback_with_restore_names_lost_orders_first(bench: Bench) -> None:
    """A rollback names the orders that it would lose; only with `discard` does it lose them."""
    store = await bench.create(bench.store())
    await order(bench, store, "before")
    await asyncio.sleep(1.1)
    operation = generate_id("op")
    store = await bench.upgrade(store, "2.0.0", operation=operation)
    await asyncio.sleep(1.1)
    await order(bench, store, "after")
    with pytest.raises(NothingChanged) as error:
        await bench.roll_back(store, "1.0.0", operation)
    assert error.value.code == "orders_would_go"
    assert "1 order(s)" in error.value.detail
    assert "after (1.00" in error.value.detail
    assert "version 2.0.0" in await ask(bench, store, "/")
    store = await bench.roll_back(store, "1.0.0", operation, discard=True)
    assert "version 1.0.0" in await ask(bench, store, "/")
    orders = await ask(bench, store, "/cgi-bin/orders")
    assert "before" in orders
    assert "after" not in orders
    assert await left(bench, store) == NOTHING
    await bench.delete(store)


FAILING = (
    ("3.0.0", "image_missing", "no-such-image"),
    ("4.0.0", "store_crashes", "no use: password=(hidden)"),
    ("5.0.0", "store_not_answering", "does not show “Pocket teapot”"),
    ("6.0.0", "store_not_ready", "Startup probe failed"),
    ("7.0.0", "setup_failed", "setup cannot go on"),
)


async def test_failed_upgrades_roll_back_automatically(bench: Bench) -> None:
    """Run all concurrently; each rolls back in time while its store keeps serving."""
    await asyncio.gather(*(_fails(bench, *each) for each in FAILING))


async def _fails(bench: Bench, version: str, code: str, words: str) -> None:
    store = await bench.create(bench.store(), within=240)
    await order(bench, store, "kept")
    async with shopping(bench, store) as shopper:
        begun = time.monotonic()
        with pytest.raises(PermanentError) as error:
            await bench.upgrade(store, version, within=180)
        took = time.monotonic() - begun
    print(version, round(took, 1), round(shopper.gap, 2), shopper.failed, shopper.versions)
    assert error.value.code == code
    assert words in error.value.detail
    if version in ("3.0.0", "4.0.0"):
        assert took < BACK_WITHIN
    assert shopper.gap < (LONGEST_GAP if version != "5.0.0" else took), version
    assert shopper.versions[-1] == "1.0.0"
    assert "kept" in await ask(bench, store, "/cgi-bin/orders")
    assert await left(bench, store, leaving=True) == NOTHING
    store = await bench.upgrade(store, "2.0.0")
    await bench.delete(store)


async def test_larger_plan_has_larger_quota(bench: Bench) -> None:
    small, medium = bench.store(), bench.store().model_copy(update={"plan": "medium"})
    for store in (small, medium):
        await bench.step(store, "namespace")
    memory = {}
    for store in (small, medium):
        found = await bench.runtime.usage(store)
        assert found is not None
        memory[store.plan] = next(use for use in found if use.name == "memory limits")
    assert (memory[""].hard, memory["medium"].hard) == ("256 MiB", "512 MiB")
    assert memory["medium"].share == 0


# the whole platform, killed in between --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with platform_that_is_killed(tmp_path_factory.mktemp("platform")) as platform:
        yield platform


async def _accepted(client: Client, store_id: str, verb: str, **body: Any) -> str:
    status, answer = await client.insist("POST", f"stores/{store_id}/{verb}", json=body)
    assert status == 202, answer
    return str(answer["operation"]["id"])


async def _changed(
    client: Client, store_id: str, verb: str, state: str = "succeeded", **body: Any
) -> dict[str, Any]:
    operation = await client.ended(await _accepted(client, store_id, verb, **body), within=180)
    assert operation["state"] == state, operation
    return operation


async def _store(client: Client, store_id: str) -> Store:
    """Read a store from the API and check that it is ready."""
    shown = (await client.insist("GET", f"stores/{store_id}"))[1]
    assert shown["state"] == "ready", shown
    return Store.model_validate(shown)


async def test_process_killed_at_every_effect_of_version_change_reaches_same_end(
    platform: Platform, bench: Bench
) -> None:
    """Upgrade and roll back one store; each killed operation is taken over and ends the same."""
    armed = Path(platform.settings["failpoint_file"])
    effects = {
        "upgrade": ("make_task", "note_dump", "remove_task", "helm_install"),
        "rollback": ("scale_web", "make_task", "remove_task", "helm_install"),
    }
    assert set(IN_CHANGE) <= {effect for each in effects.values() for effect in each}
    bodies: dict[str, dict[str, Any]] = {
        "upgrade": {"version": "2.0.0"},
        "rollback": {"restore": True, "discard_orders": True},
    }
    async with Client(platform) as client:
        store_id = (await client.made("killed"))["id"]
        for pair in zip(*effects.values(), strict=True):
            for side in ("before", "after"):
                for verb, effect in zip(effects, pair, strict=True):
                    armed.write_text(f"{effect}:{side}")
                    await _changed(client, store_id, verb, **bodies[verb])
                    assert not armed.exists(), f"{effect}:{side} of the {verb} was not visited"
                    store = await _store(client, store_id)
                    assert store.engine_version == ("2.0.0" if verb == "upgrade" else "1.0.0")
                    assert f"version {store.engine_version}" in await ask(bench, store, "/")
                    assert (await bench.releases(store))[-1] == "deployed"
                    assert await left(bench, store) == NOTHING
        await _goes_back_over_a_kill(client, store_id, armed, bench)
        await _gone(client, bench, store_id)
    assert not [line for line in platform.log_lines() if line.get("level") in ("error", "critical")]


async def _goes_back_over_a_kill(client: Client, store_id: str, armed: Path, bench: Bench) -> None:
    armed.write_text(
        "clear_stuck:before"
    )  # during the automatic rollback, which deletes the failed set-up
    operation = await _changed(client, store_id, "upgrade", "failed", version="7.0.0")
    assert not armed.exists()
    assert operation["error"]["code"] == "setup_failed"
    store = await _store(client, store_id)
    assert store.engine_version == "1.0.0"
    assert await left(bench, store, leaving=True) == NOTHING


@pytest.mark.parametrize("step", ["dump", "release", "start"])
async def test_provisioner_killed_during_upgrade_step_is_taken_over(
    platform: Platform, bench: Bench, step: str
) -> None:
    async with Client(platform) as client:
        store_id = (await client.made(f"killed-in-{step}"))["id"]
        operation_id = await _accepted(client, store_id, "upgrade", version="2.0.0")
        async with asyncio.timeout(60):
            while step not in await _running(client, operation_id):
                await asyncio.sleep(0.05)
        assert platform.kill("provisioner")
        operation = await client.ended(operation_id, within=120)
        assert operation["state"] == "succeeded", operation
        store = await _store(client, store_id)
        assert store.engine_version == "2.0.0"
        assert await left(bench, store) == NOTHING
        await _gone(client, bench, store_id)


async def _running(client: Client, operation_id: str) -> list[str]:
    operation = (await client.insist("GET", f"operations/{operation_id}"))[1]
    return [each["name"] for each in operation["steps"] if each["state"] == "running"]


async def test_deletion_during_upgrade_leaves_nothing(platform: Platform, bench: Bench) -> None:
    async with Client(platform) as client:
        store_id = (await client.made("leaving"))["id"]
        operation_id = await _accepted(client, store_id, "upgrade", version="6.0.0")
        async with asyncio.timeout(60):
            while "start" not in await _running(client, operation_id):
                await asyncio.sleep(0.2)
        await _gone(client, bench, store_id)
        assert (await client.ended(operation_id))["state"] in ("cancelled", "failed")


async def _gone(client: Client, bench: Bench, store_id: str) -> None:
    answer = await client.delete(store_id)
    operation = await client.ended(answer["operation"]["id"], within=120)
    assert operation["state"] == "succeeded", operation
    assert await bench.cluster.get(resource_kinds.NAMESPACE, make_resource_name(store_id)) is None
    volumes = await bench.cluster.list_objects(resource_kinds.PERSISTENT_VOLUME)
    assert make_resource_name(store_id) not in {
        (each["spec"].get("claimRef") or {}).get("namespace") for each in volumes
    }
