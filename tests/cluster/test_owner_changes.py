"""Stores that belong to their owners: version changes after what owners do, and failing set-ups.

These tests use the engine “pocket”, whose owner acts through the Secret `owner`. Tests of other
engines use `tests/support/cluster/owner_changes.py`.
"""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from storefleet.core.errors import NothingChanged, PermanentError
from storefleet.core.identifiers import generate_id, make_resource_name
from storefleet.core.models import Store
from storefleet.core.observed import StorefrontClass
from storefleet.runtimes.kubernetes.api import resource_kinds
from tests.support.cluster.runtime_bench import Bench, load_pocket_image, open_bench
from tests.support.cluster.version_changes import request_page, watch_page

#: What the owner does, and the class that the storefront then has.
OWNER_CHANGES = {
    "product-deleted": StorefrontClass.SERVING,
    "renamed": StorefrontClass.SERVING,
    "closed": StorefrontClass.CLOSED_BY_OWNER,
    "maintenance": StorefrontClass.CLOSED_BY_OWNER,
    "protected": StorefrontClass.PROTECTED,
}
#: A version whose pods crash is rolled back within this time of the first crash.
ROLLED_BACK_WITHIN = 60.0


@pytest.fixture(scope="session", autouse=True)
def image(tmp_path_factory: pytest.TempPathFactory) -> None:
    load_pocket_image(tmp_path_factory.mktemp("image"))


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    async with open_bench() as bench:
        yield bench


async def set_owner_secret(bench: Bench, store: Store, **values: str) -> None:
    """Set what the owner does; pods read it at their start."""
    await bench.cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "owner", "namespace": make_resource_name(store.id)},
            "stringData": values,
        }
    )


async def restart_web(bench: Bench, store: Store) -> None:
    """Delete the web pod and wait until its successor is ready."""
    namespace = make_resource_name(store.id)
    for pod in await bench.cluster.list_objects(
        resource_kinds.POD, namespace=namespace, labels="app.kubernetes.io/component=web"
    ):
        metadata = pod["metadata"]
        await bench.cluster.delete(
            resource_kinds.POD, metadata["name"], uid=metadata["uid"], namespace=namespace
        )
    await bench.wait_until_ready(store)


async def test_version_changes_and_restarts_leave_owner_changes_alone(bench: Bench) -> None:
    store = await bench.create(bench.make_store())
    for number, (change, expected) in enumerate(OWNER_CHANGES.items()):
        await set_owner_secret(bench, store, change=change)
        await restart_web(bench, store)
        operation = generate_id("op")
        if number % 2:
            store = await bench.roll_back(store, "1.0.0", operation=operation)
        else:
            store = await bench.upgrade(store, "2.0.0", operation=operation)
        baseline = bench.baselines[operation]
        assert baseline.storefront is expected, change
        assert "answers as before" in bench.results[-1], change
    await set_owner_secret(bench, store, change="none")
    await restart_web(bench, store)
    with pytest.raises(PermanentError, match="“database” passed before and now does not show"):
        await bench.upgrade(store, "5.0.0", within=120)
    await bench.delete(store)


async def test_failing_changes_leave_store_serving(bench: Bench) -> None:
    """Run all concurrently: most of the time passes in grace periods."""
    await asyncio.gather(
        _check_failing_setups(bench), _check_failing_rollback(bench), _check_crash(bench)
    )


async def _check_failing_setups(bench: Bench) -> None:
    """The set-up of the new version fails, then that of the old one; the store keeps serving."""
    store = await bench.create(bench.make_store(), within=120)
    await set_owner_secret(bench, store, setup="fails")
    async with watch_page(bench, store) as shopper:
        with pytest.raises(PermanentError) as error:
            await bench.upgrade(store, "2.0.0", within=120)
    assert error.value.code == "setup_failed"
    (warning,) = bench.warnings
    assert warning.startswith("The set-up of 1.0.0 failed: The Job setup-")
    # The web pods of this engine do not wait for the set-up.
    assert (shopper.versions[0], shopper.versions[-1]) == ("1.0.0", "1.0.0")
    assert shopper.gap < 5
    await set_owner_secret(bench, store, setup="works")
    begun = time.monotonic()
    store = await bench.upgrade(store, "2.0.0")
    assert time.monotonic() - begun < 60, "the failed set-up is remembered"
    await set_owner_secret(bench, store, setup="fails")
    store = await bench.roll_back(store, "1.0.0")
    assert "The set-up of 1.0.0 failed" in bench.warnings[-1]
    assert "version 1.0.0" in await request_page(bench, store, "/")
    await bench.delete(store)


async def _check_failing_rollback(bench: Bench) -> None:
    """The previous version does not start any more; the pods of the present one keep serving."""
    store = await bench.upgrade(
        await bench.create(bench.make_store(), within=120), "2.0.0", within=120
    )
    await set_owner_secret(bench, store, crash="1.0.0")
    async with watch_page(bench, store) as shopper:
        with pytest.raises(NothingChanged, match=r"The store is still on 2\.0\.0\."):
            await bench.roll_back(store, "1.0.0")
    assert set(shopper.versions) == {"2.0.0"}
    assert shopper.gap < 5
    await restart_web(bench, store)
    assert "version 2.0.0" in await request_page(bench, store, "/")
    await set_owner_secret(bench, store, crash="none")
    store = await bench.roll_back(store, "1.0.0")
    await bench.delete(store)


async def _check_crash(bench: Bench) -> None:
    store = await bench.create(bench.make_store(), within=120)
    first_crash = asyncio.create_task(_wait_for_crash(bench, store))
    with pytest.raises(PermanentError) as error:
        await bench.upgrade(store, "4.0.0", within=120)
    took = time.monotonic() - await first_crash
    assert error.value.code == "store_crashes"
    print(f"rolled back {took:.1f} s after the first crash")
    assert took < ROLLED_BACK_WITHIN
    assert "version 1.0.0" in await request_page(bench, store, "/")
    await bench.delete(store)


async def _wait_for_crash(bench: Bench, store: Store) -> float:
    """Return when a container of the web pods was first restarted."""
    async with asyncio.timeout(120):
        while True:
            pods = await bench.cluster.list_objects(
                resource_kinds.POD,
                namespace=make_resource_name(store.id),
                labels="app.kubernetes.io/component=web",
            )
            statuses = [
                status for pod in pods for status in pod["status"].get("containerStatuses", ())
            ]
            if any(status["restartCount"] for status in statuses):
                return time.monotonic()
            await asyncio.sleep(0.2)
