"""Version changes on a real cluster: upgrades, rollbacks and automatic rollbacks."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from storefleet.core.errors import NothingChanged, PermanentError
from storefleet.core.identifiers import generate_id
from tests.support.cluster.runtime_bench import Bench, load_pocket_image, open_bench
from tests.support.cluster.version_changes import (
    NO_LEFTOVERS,
    list_leftovers,
    list_pod_uids,
    place_order,
    request_page,
    watch_page,
)

BACK_WITHIN = 90.0
LONGEST_GAP = 5.0


@pytest.fixture(scope="session", autouse=True)
def image(tmp_path_factory: pytest.TempPathFactory) -> None:
    load_pocket_image(tmp_path_factory.mktemp("image"))


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    async with open_bench() as bench:
        yield bench


async def test_upgrade_and_rollback_keep_store_serving(bench: Bench) -> None:
    """The order is kept, the database keeps running, and the store keeps serving."""
    store = await bench.create(bench.make_store())
    await place_order(bench, store, "first")
    (database,) = await list_pod_uids(bench, store, "database")
    async with watch_page(bench, store) as shopper:
        store = await bench.upgrade(store, "2.0.0")
        assert await bench.runtime.read_logs(store, tail=1) == ["pocket serves Pocket shop"]
        store = await bench.upgrade(store, "2.1.0")
        store = await bench.roll_back(store, "2.0.0")
    assert (shopper.versions[0], shopper.versions[-1]) == ("1.0.0", "2.0.0")
    assert set(shopper.versions) == {"1.0.0", "2.0.0", "2.1.0"}
    assert shopper.gap < LONGEST_GAP
    assert "first" in await request_page(bench, store, "/cgi-bin/orders")
    assert await list_pod_uids(bench, store, "database") == [database]
    assert await list_leftovers(bench, store) == NO_LEFTOVERS
    await bench.delete(store)


async def test_rollback_with_restore_names_lost_orders_first(bench: Bench) -> None:
    """A rollback names the orders that it would lose; only with `discard` does it lose them."""
    store = await bench.create(bench.make_store())
    await place_order(bench, store, "before")
    await asyncio.sleep(1.1)
    operation = generate_id("op")
    store = await bench.upgrade(store, "2.0.0", operation=operation)
    await asyncio.sleep(1.1)
    await place_order(bench, store, "after")
    with pytest.raises(NothingChanged) as error:
        await bench.roll_back(store, "1.0.0", operation)
    assert error.value.code == "orders_would_be_lost"
    assert "1 order(s)" in error.value.detail
    assert "after (1.00" in error.value.detail
    assert "version 2.0.0" in await request_page(bench, store, "/")
    store = await bench.roll_back(store, "1.0.0", operation, discard=True)
    assert "version 1.0.0" in await request_page(bench, store, "/")
    orders = await request_page(bench, store, "/cgi-bin/orders")
    assert "before" in orders
    assert "after" not in orders
    assert await list_leftovers(bench, store) == NO_LEFTOVERS
    await bench.delete(store)


FAILING = (
    ("3.0.0", "image_missing", "no-such-image"),
    ("4.0.0", "store_crashes", "no use: password=(hidden)"),
    ("5.0.0", "store_not_answering", "“database” passed before and now does not show"),
    ("6.0.0", "store_not_ready", "Startup probe failed"),
    ("7.0.0", "setup_failed", "setup cannot go on"),
)


async def test_failed_upgrades_roll_back_automatically(bench: Bench) -> None:
    """Run all concurrently; each rolls back in time while its store keeps serving."""
    await asyncio.gather(*(_check_failed_upgrade(bench, *each) for each in FAILING))


async def _check_failed_upgrade(bench: Bench, version: str, code: str, words: str) -> None:
    store = await bench.create(bench.make_store(), within=240)
    await place_order(bench, store, "kept")
    async with watch_page(bench, store) as shopper:
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
    assert "kept" in await request_page(bench, store, "/cgi-bin/orders")
    assert await list_leftovers(bench, store, leaving=True) == NO_LEFTOVERS
    store = await bench.upgrade(store, "2.0.0")
    await bench.delete(store)


async def test_larger_plan_has_larger_quota(bench: Bench) -> None:
    small, medium = bench.make_store(), bench.make_store().model_copy(update={"plan": "medium"})
    for store in (small, medium):
        await bench.run_step(store, "namespace")
    memory = {}
    for store in (small, medium):
        found = await bench.runtime.read_usage(store)
        assert found is not None
        memory[store.plan] = next(use for use in found if use.name == "memory limits")
    assert (memory[""].hard, memory["medium"].hard) == ("256 MiB", "512 MiB")
    assert memory["medium"].share == 0
