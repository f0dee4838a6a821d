"""The platform's processes on a real cluster, killed before and after every effect."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from storefleet.core.identifiers import make_resource_name
from storefleet.runtimes.kubernetes.api import resource_kinds
from tests.support.cluster.runtime_bench import (
    IN_CHANGE,
    Bench,
    list_effects,
    load_pocket_image,
    open_bench,
    run_killable_platform,
)
from tests.support.services.platform import Client, Platform

IN_DELETION = ("delete_namespace", "delete_contents")
IN_RETRY = ("delete_release_record", "delete_stuck")


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


async def test_process_killed_at_every_effect_reaches_same_end(
    platform: Platform, bench: Bench
) -> None:
    armed, visited = (
        Path(platform.settings["failpoint_file"]),
        Path(platform.settings["failpoint_log"]),
    )
    async with Client(platform) as client:
        visited.write_text("")
        await _delete_store(client, (await client.made("first"))["id"])
        retried = await _create_by_retry(client, bench)
        points = list_effects() - {
            f"{effect}:{side}" for effect in IN_CHANGE for side in ("before", "after")
        }
        assert points - set(visited.read_text().split()) == set()
        leaving = [asyncio.create_task(_delete_store(client, retried))]
        for number, point in enumerate(sorted(points)):
            effect = point.partition(":")[0]
            if effect in IN_DELETION:
                store_id = (await client.made(f"killed-{number}"))["id"]
                await asyncio.gather(
                    *leaving
                )  # otherwise one of them could visit the failpoint first
                armed.write_text(point)
                await _delete_store(client, store_id)
            elif effect in IN_RETRY:
                leaving.append(
                    asyncio.create_task(
                        _delete_store(client, await _create_by_retry(client, bench, armed, point))
                    )
                )
            else:
                armed.write_text(point)
                store = await client.made(f"killed-{number}")
                assert store["state"] == "ready"
                leaving.append(asyncio.create_task(_delete_store(client, store["id"])))
            assert not armed.exists(), f"{point} was not visited"
        await asyncio.gather(*leaving)
    assert not [line for line in platform.log_lines() if line.get("level") in ("error", "critical")]


async def _delete_store(client: Client, store_id: str) -> None:
    answer = await client.delete(store_id)
    operation = await client.ended(answer["operation"]["id"], within=120)
    assert operation["state"] == "succeeded", operation


async def _create_by_retry(
    client: Client, bench: Bench, armed: Path | None = None, point: str = ""
) -> str:
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
