"""Version changes on a real cluster with processes of the platform killed during them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from storefleet.core.identifiers import make_resource_name
from storefleet.core.models import Store
from storefleet.runtimes.kubernetes.api import resource_kinds
from tests.support.cluster.runtime_bench import (
    IN_CHANGE,
    Bench,
    load_pocket_image,
    open_bench,
    run_killable_platform,
)
from tests.support.cluster.version_changes import NO_LEFTOVERS, list_leftovers, request_page
from tests.support.services.platform import Client, Platform


@pytest.fixture(scope="session", autouse=True)
def image(tmp_path_factory: pytest.TempPathFactory) -> None:
    load_pocket_image(tmp_path_factory.mktemp("image"))


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    async with open_bench() as bench:
        yield bench


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with run_killable_platform(tmp_path_factory.mktemp("platform")) as platform:
        yield platform


async def _request_operation(client: Client, store_id: str, verb: str, **body: Any) -> str:
    status, answer = await client.insist("POST", f"stores/{store_id}/{verb}", json=body)
    assert status == 202, answer
    return str(answer["operation"]["id"])


async def _run_operation(
    client: Client, store_id: str, verb: str, state: str = "succeeded", **body: Any
) -> dict[str, Any]:
    operation = await client.ended(
        await _request_operation(client, store_id, verb, **body), within=180
    )
    assert operation["state"] == state, operation
    return operation


async def _read_ready_store(client: Client, store_id: str) -> Store:
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
        "upgrade": ("create_task", "record_dump", "delete_task", "helm_install"),
        "rollback": ("scale_web", "create_task", "delete_task", "helm_install"),
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
                    await _run_operation(client, store_id, verb, **bodies[verb])
                    assert not armed.exists(), f"{effect}:{side} of the {verb} was not visited"
                    store = await _read_ready_store(client, store_id)
                    assert store.engine_version == ("2.0.0" if verb == "upgrade" else "1.0.0")
                    assert f"version {store.engine_version}" in await request_page(
                        bench, store, "/"
                    )
                    assert (await bench.list_release_statuses(store))[-1] == "deployed"
                    assert await list_leftovers(bench, store) == NO_LEFTOVERS
        await _check_killed_automatic_rollback(client, store_id, armed, bench)
        await _delete_store(client, bench, store_id)
    assert not [line for line in platform.log_lines() if line.get("level") in ("error", "critical")]


async def _check_killed_automatic_rollback(
    client: Client, store_id: str, armed: Path, bench: Bench
) -> None:
    armed.write_text(
        "delete_stuck:before"
    )  # during the automatic rollback, which deletes the failed set-up
    operation = await _run_operation(client, store_id, "upgrade", "failed", version="7.0.0")
    assert not armed.exists()
    assert operation["error"]["code"] == "setup_failed"
    store = await _read_ready_store(client, store_id)
    assert store.engine_version == "1.0.0"
    assert await list_leftovers(bench, store, leaving=True) == NO_LEFTOVERS


@pytest.mark.parametrize("step", ["dump", "release", "start"])
async def test_provisioner_killed_during_upgrade_step_is_taken_over(
    platform: Platform, bench: Bench, step: str
) -> None:
    async with Client(platform) as client:
        store_id = (await client.made(f"killed-in-{step}"))["id"]
        operation_id = await _request_operation(client, store_id, "upgrade", version="2.0.0")
        async with asyncio.timeout(60):
            while step not in await _list_running_steps(client, operation_id):
                await asyncio.sleep(0.05)
        assert platform.kill("provisioner")
        operation = await client.ended(operation_id, within=120)
        assert operation["state"] == "succeeded", operation
        store = await _read_ready_store(client, store_id)
        assert store.engine_version == "2.0.0"
        assert await list_leftovers(bench, store) == NO_LEFTOVERS
        await _delete_store(client, bench, store_id)


async def _list_running_steps(client: Client, operation_id: str) -> list[str]:
    operation = (await client.insist("GET", f"operations/{operation_id}"))[1]
    return [each["name"] for each in operation["steps"] if each["state"] == "running"]


async def test_deletion_during_upgrade_leaves_nothing(platform: Platform, bench: Bench) -> None:
    async with Client(platform) as client:
        store_id = (await client.made("leaving"))["id"]
        operation_id = await _request_operation(client, store_id, "upgrade", version="6.0.0")
        async with asyncio.timeout(60):
            while "start" not in await _list_running_steps(client, operation_id):
                await asyncio.sleep(0.2)
        await _delete_store(client, bench, store_id)
        assert (await client.ended(operation_id))["state"] in ("cancelled", "failed")


async def _delete_store(client: Client, bench: Bench, store_id: str) -> None:
    answer = await client.delete(store_id)
    operation = await client.ended(answer["operation"]["id"], within=120)
    assert operation["state"] == "succeeded", operation
    assert await bench.cluster.get(resource_kinds.NAMESPACE, make_resource_name(store_id)) is None
    volumes = await bench.cluster.list_objects(resource_kinds.PERSISTENT_VOLUME)
    assert make_resource_name(store_id) not in {
        (each["spec"].get("claimRef") or {}).get("namespace") for each in volumes
    }
