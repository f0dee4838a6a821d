"""Limits are exact under parallel requests."""

import asyncio
from collections import Counter

from storefleet.core.messages import COMMAND_STREAM
from tests.support.services.polling import eventually
from tests.support.services.world import World


async def test_parallel_creates_stop_at_limit(world: World) -> None:
    await world.start("gateway", stores_per_hour=12, stores_per_tenant=50)
    for number in range(2):
        await world.api.create(f"before-{number}")
    answers = await asyncio.gather(
        *(world.api.post("/stores", {"name": f"shop-{n}"}) for n in range(200))
    )
    assert Counter(answer.status for answer in answers) == {202: 10, 429: 190}
    for answer in answers:
        if answer.status == 429:
            assert answer.body["code"] == "stores_per_hour"
            assert answer.body["retryable"] is True
            assert 0 < int(answer.headers["Retry-After"]) <= 3600
    assert await world.value("SELECT count(*) FROM stores") == 12
    assert await world.value("SELECT count(*) FROM operations") == 12
    await eventually(world.all_sent)
    assert await world.servers.count(COMMAND_STREAM) == 12
    assert (await world.other_api.post("/stores", {"name": "unhindered"})).status == 202


async def test_hourly_limit_uses_rolling_window(world: World) -> None:
    await world.start("gateway", stores_per_hour=2)
    await world.api.create("first")
    await world.execute("UPDATE stores SET created_at = now() - interval '59 minutes 30 seconds'")
    await world.api.create("second")
    answer = await world.api.post("/stores", {"name": "third"})
    assert answer.status == 429
    assert 25 <= int(answer.headers["Retry-After"]) <= 30
    await world.execute(
        "UPDATE stores SET created_at = now() - interval '61 minutes' WHERE name = 'first'"
    )
    await world.api.create("third")


async def test_deleted_store_counts_in_hourly_limit(world: World) -> None:
    await world.start("gateway", "reaper", stores_per_hour=1, stores_per_tenant=1)
    await world.api.create("gone")
    await world.api.wait_until_done(
        (await world.api.delete("/stores/gone")).body["operation"]["id"]
    )
    assert (await world.api.post("/stores", {"name": "next"})).body["code"] == "stores_per_hour"


async def test_store_limit_per_tenant_is_exact(world: World) -> None:
    await world.start("gateway", "reaper", stores_per_tenant=5)
    answers = await asyncio.gather(
        *(world.api.post("/stores", {"name": f"shop-{n}"}) for n in range(40))
    )
    assert Counter(answer.status for answer in answers) == {202: 5, 429: 35}
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.body["code"] == "stores_per_tenant"
    assert int(refused.headers["Retry-After"]) > 0
    name = next(answer for answer in answers if answer.status == 202).body["store"]["name"]
    deletion = (await world.api.delete(f"/stores/{name}")).body["operation"]
    assert (await world.api.post("/stores", {"name": "too-early"})).status in (202, 429)
    await world.api.wait_until_done(deletion["id"])
    assert await world.value("SELECT count(*) FROM stores WHERE state <> 'deleted'") in (4, 5)


async def test_zero_limit_allows_nothing(world: World) -> None:
    await world.start("gateway", stores_per_hour=0)
    answer = await world.api.post("/stores", {"name": "none-at-all"})
    assert (answer.status, answer.headers["Retry-After"]) == (429, "3600")


async def test_parallel_requests_with_one_key_create_one_store(world: World) -> None:
    await world.start("gateway", stores_per_hour=10)
    headers = {"Idempotency-Key": "the-same"}
    answers = await asyncio.gather(
        *(world.api.post("/stores", {"name": "one-store"}, headers=headers) for _ in range(50))
    )
    assert {answer.status for answer in answers} == {202}
    assert len({answer.body["store"]["id"] for answer in answers}) == 1
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert await world.value("SELECT count(*) FROM stores") == 1


async def test_parallel_requests_for_one_name_create_one_store(world: World) -> None:
    await world.start("gateway")
    apis = [world.api, world.other_api] * 10
    answers = await asyncio.gather(*(api.post("/stores", {"name": "wanted"}) for api in apis))
    assert Counter(answer.status for answer in answers) == {202: 1, 409: 19}
