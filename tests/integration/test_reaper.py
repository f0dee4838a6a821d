"""The reaper: redispatch, gauges, deletion of expired rows, and the first tenant."""

import asyncio

import pytest
from prometheus_client import REGISTRY

from services.reaper.due_operations import DueOperations
from storefleet.auth.sessions import Sessions
from storefleet.auth.tenants import ensure_first_tenant, replace_owner_secrets
from storefleet.auth.tokens import Tokens
from storefleet.core.errors import Unauthenticated
from tests.support.services.polling import eventually
from tests.support.services.scripted_steps import Script
from tests.support.services.world import World


async def test_expired_rows_are_deleted(world: World) -> None:
    await world.start("gateway", "provisioner", "reaper")
    old, new = await world.api.create_ready_store("old"), await world.api.create_ready_store("new")
    for store in (old, new):
        await world.api.wait_until_done(
            (await world.api.delete(f"/stores/{store['id']}")).body["operation"]["id"]
        )
    live = await world.api.create_ready_store("lively")
    await world.api.post("/stores", {"name": "keyed"}, headers={"Idempotency-Key": "old"})
    await world.sign_in()
    await world.wait_until_settled()
    last = await world.last_seq()
    await world.stop("reaper")
    await world.execute(
        "UPDATE stores SET deleted_at = now() - interval '8 days' WHERE id = $1", old["id"]
    )
    await world.execute(
        "UPDATE events SET time = now() - interval '8 days' WHERE store_id = $1", old["id"]
    )
    await world.execute("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
    await world.execute("UPDATE sessions SET expires_at = now() - interval '25 hours'")
    await world.execute(
        "INSERT INTO sign_in_failures (account, failures, last_at) VALUES ('x', 9, now() - "
        "interval '25 hours')"
    )
    await world.start("reaper")

    async def forgotten() -> bool:
        counts = await world.fetch(
            "SELECT (SELECT count(*) FROM idempotency_keys) + (SELECT count(*) FROM sessions)"
            " + (SELECT count(*) FROM sign_in_failures) + (SELECT count(*) FROM events WHERE "
            "store_id = $1)"
            " + (SELECT count(*) FROM stores WHERE id = $1)"
            " + (SELECT count(*) FROM operations WHERE store_id = $1) AS n",
            old["id"],
        )
        assert counts == [{"n": 0}]
        return True

    await eventually(forgotten)
    assert (await world.api.store(new["id"]))["state"] == "deleted"
    assert (await world.api.store(live["id"]))["state"] == "ready"
    assert await world.last_seq() == last
    assert await world.value("SELECT first_seq FROM relay") > 1
    again = await world.api.post(
        "/stores", {"name": "keyed-again"}, headers={"Idempotency-Key": "old"}
    )
    assert again.status == 202  # a key is kept for one day


async def test_store_gauge_counts_by_state(world: World) -> None:
    await world.start("gateway", "provisioner")
    await world.api.create_ready_store("one")
    await world.api.create_ready_store("two")
    await world.start("reaper")
    await eventually(
        lambda: REGISTRY.get_sample_value("storefleet_stores", {"state": "ready"}) == 2
    )


async def test_concurrent_reapers_dispatch_due_operations_once(world: World) -> None:
    await world.start("gateway")
    for number in range(20):
        await world.api.create(f"due-{number}")
    await eventually(world.all_sent)
    await world.stop("gateway")  # so that redispatched commands stay countable in the outbox
    await world.servers.empty_streams()
    await world.execute("UPDATE operations SET announced_at = now() - interval '1 hour'")
    settings = world.settings("reaper", redispatch_after=3600)
    sweeps = [DueOperations(database=world.database, settings=settings) for _ in range(4)]
    await asyncio.gather(*(sweep._redispatch_due() for sweep in sweeps))
    assert await world.value("SELECT count(*) FROM outbox WHERE kind = 'command'") == 20
    await world.start("gateway")
    async with world.worker(Script()):
        await world.wait_until_settled()
    assert await world.value("SELECT count(*) FROM stores WHERE state = 'ready'") == 20


async def test_first_tenant_is_created_once_with_replaceable_secrets(world: World) -> None:
    settings = world.settings()
    sessions = Sessions(database=world.database, settings=settings)
    tokens = Tokens(database=world.database)
    first = await ensure_first_tenant(world.database, email="first@example.com")
    assert first is not None
    assert await ensure_first_tenant(world.database, email="First@Example.com") is None
    caller = await tokens.find_principal(first.token)
    assert caller is not None
    assert caller.has_scope("operator")
    replaced = await replace_owner_secrets(world.database, email="first@example.com")
    assert (replaced.tenant_id, replaced.email) == (first.tenant_id, "first@example.com")
    assert await tokens.find_principal(replaced.token) is not None
    await sessions.sign_in("first@example.com", replaced.password)
    with pytest.raises(Unauthenticated):
        await sessions.sign_in("first@example.com", first.password)
