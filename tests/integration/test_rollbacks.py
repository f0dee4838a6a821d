"""Rollbacks on request, and the version history."""

import asyncio

from tests.support.services.scripted_steps import Script, ScriptedStepPlans, failing
from tests.support.services.version_requests import (
    request_rollback,
    request_upgrade,
    upgrade_new_store,
    worse,
)
from tests.support.services.world import World


async def test_rollback_is_recorded_in_version_history(world: World) -> None:
    await world.start()
    store = await upgrade_new_store(world, "acme")
    token = (await world.api.post("/tokens", {"name": "night shift"})).body
    night = world.api.with_token(token["token"])
    async with world.listener() as heard:
        answer = await night.post("/stores/acme/rollback", {"restore": True})
        assert (await world.api.wait_until_done(answer.body["operation"]["id"]))[
            "state"
        ] == "succeeded"
        await heard.wait_for_frame("store.rolled_back")
    told = [each for each in heard.types(store["id"]) if each != "store.step"]
    assert told == ["store.rolling_back", "store.rolled_back"]
    assert (await world.api.store("acme"))["engine_version"] == "1.0.0"

    page = (await world.api.get("/stores/acme/history")).body
    assert page["has_more"] is False
    lines = [
        (e["kind"], e["state"], e["from"], e["to"], e["restore"], e["by"]["name"])
        for e in page["data"]
    ]
    mine = (await world.api.get("/tokens")).body["data"][-1]["name"]
    assert lines == [
        ("rollback", "succeeded", "2.0.0", "1.0.0", True, "night shift"),
        ("upgrade", "succeeded", "1.0.0", "2.0.0", False, mine),
        ("create", "succeeded", None, "1.0.0", False, mine),
    ]
    first = (await world.api.get("/stores/acme/history?limit=2")).body
    assert first["has_more"] is True
    rest = (
        await world.api.get(
            f"/stores/acme/history?starting_after={first['data'][-1]['operation_id']}"
        )
    ).body
    assert [*first["data"], *rest["data"]] == page["data"]
    assert (await world.other_api.get(f"/stores/{store['id']}/history")).status == 404


async def test_history_names_users_of_own_tenant_only(
    world: World,
) -> None:
    await world.start()
    store = await world.api.create_ready_store("acme")
    await world.execute(
        "UPDATE operations SET requested_by = (SELECT id FROM users WHERE email = "
        "'admin@example.com')"
    )
    assert (await world.api.get("/stores/acme/history")).body["data"][0]["by"][
        "name"
    ] == "admin@example.com"
    await world.execute(
        "UPDATE operations SET requested_by = (SELECT id FROM users WHERE tenant_id <> $1 LIMIT 1)",
        store["tenant_id"],
    )
    assert (await world.api.get("/stores/acme/history")).body["data"][0]["by"]["name"] == "operator"


async def test_rollback_without_previous_version_is_rejected(world: World) -> None:
    await world.start("gateway", "provisioner")
    await world.api.create_ready_store("acme")

    async def refused() -> None:
        answer = await world.api.post("/stores/acme/rollback", {})
        assert (answer.status, answer.body["code"]) == (409, "nothing_to_roll_back")

    await refused()
    ended = await world.api.wait_until_done((await request_upgrade(world, "acme", "3.0.0"))["id"])
    assert ended["state"] == "failed"
    await refused()  # the rollback has already happened
    await world.api.wait_until_done((await request_upgrade(world, "acme"))["id"])
    await world.api.wait_until_done((await request_rollback(world, "acme"))["id"])
    await refused()  # only once
    await world.api.wait_until_done((await request_upgrade(world, "acme"))["id"])
    assert (await request_rollback(world, "acme"))["input"]["to"] == "1.0.0"


async def test_rollbacks_reverse_upgrades_one_by_one(world: World) -> None:
    await world.start("gateway")
    async with world.worker(ScriptedStepPlans().plans):
        await upgrade_new_store(world, "acme", "2.0.0")
        await world.api.wait_until_done((await request_upgrade(world, "acme", "3.0.0"))["id"])
        for version in ("2.0.0", "1.0.0"):
            same = await asyncio.gather(
                *(world.api.post("/stores/acme/rollback", {}) for _ in range(5))
            )
            (operation_id,) = {
                answer.body["operation"]["id"] for answer in same if answer.status == 202
            }
            await world.api.wait_until_done(operation_id)
            assert (await world.api.store("acme"))["engine_version"] == version


async def test_failed_rollback_operation_is_retried(world: World) -> None:
    await world.start("gateway")
    fitter = ScriptedStepPlans(rollback=Script(release=failing(worse, times=1)))
    async with world.worker(fitter.plans):
        await upgrade_new_store(world, "acme")
        operation = await request_rollback(world, "acme", restore=True)
        assert (await world.api.wait_until_done(operation["id"]))["state"] == "failed"
        failed = await world.api.store("acme")
        assert (failed["state"], failed["engine_version"], failed["failure"]["code"]) == (
            *("failed", "2.0.0"),
            "unschedulable",
        )
        retried = (await world.api.post("/stores/acme/retry")).body["operation"]
        assert (retried["kind"], retried["input"]) == ("rollback", operation["input"])
        assert (await world.api.wait_until_done(retried["id"]))["state"] == "succeeded"
    assert (await world.api.store("acme"))["engine_version"] == "1.0.0"
