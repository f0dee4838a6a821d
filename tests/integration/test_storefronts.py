"""Storefront checks: the class of each ready store, by one reaper, also when stores change."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from storefleet.core.observed import StorefrontClass
from storefleet.database.repositories.observations import ClaimedCheck
from tests.support.cluster.samples import ENGINES
from tests.support.services.polling import eventually
from tests.support.services.storefront_checks import add_stores, run_checker, set_state
from tests.support.services.world import World
from tests.support.stores import answering
from tests.support.stores.answering import Answer, open_stores

UNKNOWN = {"storefront": "unknown", "checked_at": None, "cron": "none"}


async def read_class(world: World, store_id: str) -> str:
    return str(await world.value("SELECT storefront FROM stores WHERE id = $1", store_id))


async def wait_for_class(world: World, store_id: str, storefront: str) -> None:
    async def look() -> bool:
        found = await read_class(world, store_id)
        assert found == storefront
        return True

    await eventually(look)


async def due_in_s(world: World, store_id: str) -> float:
    return float(
        await world.value(
            "SELECT extract(epoch FROM due_at - now()) FROM storefront_checks WHERE store_id = $1",
            store_id,
        )
    )


async def test_class_follows_answers_and_reaches_browsers(
    world: World, logged: Callable[[], str]
) -> None:
    await world.start("gateway", "notifier")
    (store_id,) = await add_stores(world)
    assert (await world.api.store(store_id))["observed"] == UNKNOWN
    steps: list[tuple[Answer, str]] = [
        (answering.SERVING, "serving"),
        (answering.MAINTENANCE, "closed_by_owner"),
        (answering.BASIC_AUTH, "protected"),
        (answering.NOT_FOUND, "serving"),
        (answering.SIGN_IN, "protected"),
        (answering.BROKEN, "down"),
        (answering.SERVING, "serving"),
        (answering.NO_DATABASE, "down"),
        (answering.MAINTENANCE, "closed_by_owner"),
    ]
    async with world.listener() as heard, open_stores(world.ports.take()) as stores:
        async with run_checker(world, port=stores.port):
            for answer, storefront in steps:
                stores.answers["acme"] = answer
                await wait_for_class(world, store_id, storefront)
        await eventually(lambda: len(heard.frames) == len(steps))
        frames = heard.frames
        assert {frame["type"] for frame in frames} == {"store.observed"}
        assert {frame["operation_id"] for frame in frames} == {None}
        shown = [frame["data"]["store"] for frame in frames]
        assert [store["observed"]["storefront"] for store in shown] == [name for _, name in steps]
        assert [store["version"] for store in shown] == list(range(3, 3 + len(steps)))
        assert all(store["observed"]["checked_at"] for store in shown)
        store = await world.api.store(store_id)
        assert store["observed"]["storefront"] == "closed_by_owner"
        assert store["version"] == shown[-1]["version"]
        listed = (await world.api.get("/stores")).body["data"]
        assert listed[0]["observed"] == store["observed"]
        async with world.listener(after=frames[-3]["seq"]) as replayed:
            await replayed.reached(frames[-1]["seq"])
            assert replayed.frames == frames[-2:]
        assert stores.headers[0]["Host"] == "acme-1.localhost:81"
    assert logged().count("storefront_class_changed") == len(steps)
    assert "storefront_check_crashed" not in logged()


async def test_confirming_check_writes_its_time_only(world: World) -> None:
    (store_id,) = await add_stores(world)
    async with open_stores(world.ports.take()) as stores, run_checker(world, port=stores.port):
        await wait_for_class(world, store_id, "serving")
        row = "SELECT version, storefront_checked_at FROM stores"
        (before,) = await world.fetch(row)
        seen = stores.count("acme")
        await eventually(lambda: stores.count("acme") >= seen + 4)
        (after,) = await world.fetch(row)
    assert after["version"] == before["version"]
    assert after["storefront_checked_at"] > before["storefront_checked_at"]
    assert await world.value("SELECT count(*) FROM outbox") == 1


async def test_one_failed_request_does_not_change_class_but_two_do(world: World) -> None:
    (store_id,) = await add_stores(world)
    async with (
        open_stores(world.ports.take()) as stores,
        run_checker(world, port=stores.port, storefront_check_interval=1.5) as checker,
    ):
        await wait_for_class(world, store_id, "serving")
        stores.faults["acme"] = 1
        await eventually(lambda: stores.faults["acme"] == 0)
        seen = checker.checks
        await eventually(lambda: checker.checks > seen)
        assert await world.value("SELECT count(*) FROM outbox") == 1, "only the first class"
        stores.faults["acme"] = 2
        await wait_for_class(world, store_id, "down")
        first, second = stores.hosts["acme-1.localhost:81"][-2:]
        assert 0.3 <= second - first < 1, "two checks, the confirmation pause between"
        await wait_for_class(world, store_id, "serving")


async def test_store_that_is_down_is_checked_more_often(world: World) -> None:
    up, down = await add_stores(world, 1, "up"), await add_stores(world, 1, "ill")
    async with open_stores(world.ports.take()) as stores:
        stores.answers["ill"] = answering.BROKEN
        async with run_checker(world, port=stores.port, storefront_check_interval=300):
            await wait_for_class(world, *up, "serving")
            await wait_for_class(world, *down, "down")
            assert 265 < await due_in_s(world, *up) < 331
            assert 50 < await due_in_s(world, *down) < 67


@pytest.mark.parametrize(
    ("states", "storefront"), [(["deleting"], "unknown"), (["upgrading", "ready"], "serving")]
)
async def test_late_result_does_not_land_on_changed_store(
    world: World, states: list[str], storefront: str
) -> None:
    """A store may even be ready again before the result arrives, with another version."""
    (store_id,) = await add_stores(world)
    async with open_stores(world.ports.take()) as stores:
        stores.answers["acme"] = answering.BASIC_AUTH
        stores.held["acme"] = late = asyncio.Event()
        async with run_checker(world, port=stores.port, storefront_check_interval=300) as checker:
            await eventually(lambda: stores.count("acme") == 1)
            stores.answers["acme"] = answering.SERVING
            del stores.held["acme"]
            for state in states:
                await set_state(world, state, [store_id])
            await wait_for_class(world, store_id, storefront)
            await eventually(lambda: checker.now == 1)
            late.set()
            await eventually(lambda: checker.now == 0)
            assert await read_class(world, store_id) == storefront
    assert await world.value("SELECT count(*) FROM outbox") == (storefront == "serving")


async def test_result_after_end_of_claim_is_dropped(world: World) -> None:
    """Another reaper has claimed the check meanwhile; its result is the newer one."""
    (store_id,) = await add_stores(world)
    claims = []
    for _ in range(2):
        await world.execute("UPDATE storefront_checks SET due_at = now()")
        async with world.database.transaction() as tx:
            claims += await tx.observations.claim_due(
                engines=["pocket"], claim_duration=timedelta(minutes=1), limit=1
            )
    for claim, storefront, is_written in (
        (claims[0], StorefrontClass.DOWN, False),
        (claims[1], StorefrontClass.SERVING, True),
        (claims[0], StorefrontClass.DOWN, False),
        (claims[1], StorefrontClass.PROTECTED, False),
    ):
        async with world.database.transaction() as tx:
            change = tx.observations.change_storefront
            assert await change(claim, storefront, pause_s=60) == is_written
            confirm = tx.observations.confirm_storefront
            assert not await confirm(claim, StorefrontClass.SERVING, pause_s=60)
    assert await read_class(world, store_id) == "serving"
    assert await world.value("SELECT count(*) FROM outbox") == 1


async def test_change_of_state_resets_class_and_checks_at_once(world: World) -> None:
    (store_id,) = await add_stores(world)
    async with (
        open_stores(world.ports.take()) as stores,
        run_checker(world, port=stores.port, storefront_check_interval=300),
    ):
        await wait_for_class(world, store_id, "serving")
        for state in "upgrading", "rolling_back", "failed":
            await set_state(world, state, [store_id])
            (row,) = await world.fetch("SELECT storefront, storefront_checked_at FROM stores")
            assert row == {"storefront": "unknown", "storefront_checked_at": None}
            assert await world.value("SELECT count(*) FROM storefront_checks") == 0
        seen = stores.count("acme")
        await asyncio.sleep(0.3)
        assert stores.count("acme") == seen, "only ready stores are checked"
        began = time.monotonic()
        await set_state(world, "ready", [store_id])
        await wait_for_class(world, store_id, "serving")
        assert time.monotonic() - began < 3, "not after the interval"


async def test_two_reapers_check_each_store_once_per_interval(world: World) -> None:
    await add_stores(world, 60)
    async with open_stores(world.ports.take()) as stores:
        both: dict[str, Any] = {"port": stores.port, "storefront_check_interval": 2}
        began = time.monotonic()
        async with run_checker(world, **both) as one, run_checker(world, **both) as two:
            await eventually(
                lambda: len(stores.hosts) == 60 and min(map(len, stores.hosts.values())) >= 3,
                within=60,
            )
        most = (time.monotonic() - began) / (2 * 0.9) + 1
        assert max(map(len, stores.hosts.values())) <= most
        assert min(one.checks, two.checks) > 30, "both worked"
    assert await world.value("SELECT count(*) FROM stores WHERE storefront = 'serving'") == 60
    assert await world.value("SELECT count(*) FROM outbox") == 60, "one event for each store"


async def test_due_check_is_claimed_once(world: World) -> None:
    await add_stores(world, 300)

    async def claim() -> list[ClaimedCheck]:
        async with world.database.transaction() as tx:
            return await tx.observations.claim_due(
                engines=["pocket"], claim_duration=timedelta(minutes=1), limit=100
            )

    found = [each for some in await asyncio.gather(*(claim() for _ in range(6))) for each in some]
    assert len(found) == len({each.store_id for each in found}) == 300


async def test_check_of_killed_reaper_is_repeated(world: World) -> None:
    (store_id,) = await add_stores(world)
    async with open_stores(world.ports.take()) as stores:
        stores.silent.add("acme")
        reaper = await world.process(
            "services.reaper",
            service="reaper",
            runtime="kubernetes",
            engines_path=(ENGINES,),
            store_service=f"http://127.0.0.1:{stores.port}",
        )
        await eventually(lambda: stores.count("acme") == 1, within=30)
        await reaper.kill()
        assert 0 < await due_in_s(world, store_id) < 60, "the claim ends by itself"
        stores.silent.clear()
        async with run_checker(world, port=stores.port):
            await asyncio.sleep(0.5)
            assert stores.count("acme") == 1, "not while the claim lasts"
            await world.execute("UPDATE storefront_checks SET due_at = now()")
            await wait_for_class(world, store_id, "serving")


async def test_silent_stores_do_not_delay_others(world: World) -> None:
    await add_stores(world, 3, "silent")
    await add_stores(world, 8, "good")
    async with open_stores(world.ports.take()) as stores:
        stores.silent.add("silent")
        async with run_checker(world, port=stores.port, storefront_checks=4) as checker:
            await eventually(
                lambda: stores.count("good") >= 16 and stores.count("silent") == 3, within=20
            )
        assert checker.most <= 4


async def test_local_store_is_checked_on_its_port(world: World) -> None:
    placed, unplaced = await add_stores(world, 2)
    async with open_stores(world.ports.take()) as stores:
        await world.execute(
            "INSERT INTO placements (store_id, operation_id, engine, engine_version, port, desired)"
            " VALUES ($1, 'op', 'pocket', '1', $2, 'running')",
            placed,
            stores.port,
        )
        async with run_checker(world, port=1, runtime="local"):
            await wait_for_class(world, placed, "serving")
        assert list(stores.hosts) == ["acme-1.localhost:81"]
    assert await read_class(world, unplaced) == "unknown"


async def test_simulated_store_stays_unknown(world: World) -> None:
    (store_id,) = await add_stores(world)
    async with (
        open_stores(world.ports.take()) as stores,
        run_checker(world, port=stores.port, runtime="simulated"),
    ):
        await asyncio.sleep(0.5)
        assert stores.requests == 0
    assert await read_class(world, store_id) == "unknown"


async def test_checks_resume_after_database_outage(world: World, logged: Callable[[], str]) -> None:
    port, proxy = await world.proxy(world.servers.postgres_port)
    (store_id,) = await add_stores(world)
    async with (
        open_stores(world.ports.take()) as stores,
        run_checker(world, port=stores.port, database_port=port, database_timeout=1),
    ):
        await wait_for_class(world, store_id, "serving")
        await proxy.cut()
        await eventually(lambda: "storefront_checks_postponed" in logged())
        stores.answers["acme"] = answering.BASIC_AUTH
        await proxy.mend()
        # A result that was lost with the database leaves its claim, which ends by itself.
        await world.execute("UPDATE storefront_checks SET due_at = now()")
        await wait_for_class(world, store_id, "protected")


async def test_reaper_runs_checks_and_exports_metrics(world: World) -> None:
    await add_stores(world, 2)
    await add_stores(world, 1, "shut")
    async with open_stores(world.ports.take()) as stores:
        stores.answers["shut"] = answering.MAINTENANCE
        service = f"http://127.0.0.1:{stores.port}"
        await world.start(
            "reaper", runtime="kubernetes", engines_path=(ENGINES,), store_service=service
        )

        def count(storefront: str) -> float | None:
            return REGISTRY.get_sample_value("storefleet_storefronts", {"class": storefront})

        await eventually(lambda: (count("serving"), count("closed_by_owner")) == (2, 1))
        await world.stop("reaper")
    assert REGISTRY.get_sample_value(
        "storefleet_storefront_check_duration_seconds_count", {"class": "closed_by_owner"}
    )
