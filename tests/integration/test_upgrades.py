"""Upgrades: events, admission, and versions and plans of new stores."""

import asyncio
from typing import Any

from storefleet.runtimes.protocol import StepContext
from tests.support.cluster.samples import ENGINES as POCKET
from tests.support.services.scripted_steps import Script, ScriptedStepPlans, failing
from tests.support.services.version_requests import broken, make_rollback_script, request_upgrade
from tests.support.services.world import World


async def test_upgrade_publishes_events_in_order(world: World) -> None:
    await world.start()
    store = await world.api.create_ready_store("acme")
    async with world.listener() as heard:
        accepted = await world.api.post("/stores/acme/upgrade", {"version": "2.0.0"})
        assert (
            accepted.headers["Location"] == f"/api/v1/operations/{accepted.body['operation']['id']}"
        )
        assert accepted.body["operation"]["input"] == {"from": "1.0.0", "to": "2.0.0"}
        await heard.wait_for_frame("store.upgraded")
    types = heard.types(store["id"])
    assert [each for each in types if each != "store.step"] == ["store.upgrading", "store.upgraded"]
    assert types[0] == "store.step", "that it waits is told, too"
    shown = [
        (f["type"], f["data"]["store"]["state"], f["data"]["store"]["engine_version"])
        for f in heard.frames
    ]
    assert shown[1] == ("store.upgrading", "upgrading", "1.0.0")
    assert shown[-1] == ("store.upgraded", "ready", "2.0.0"), "the version changes when all is done"
    versions = [frame["data"]["store"]["version"] for frame in heard.frames]
    assert versions == sorted(versions)
    now = await world.api.store("acme")
    assert (now["state"], now["engine_version"], now["ready_at"]) == (
        "ready",
        "2.0.0",
        store["ready_at"],
    )
    assert now["failure"] is None


async def test_step_context_contains_operation_input(world: World) -> None:
    seen: list[Any] = []

    async def look(work: StepContext) -> None:
        seen.append((work.store.engine_version, work.change))

    fitter = ScriptedStepPlans(
        there=Script(dump=look, release=failing(broken, times=1)),
        back=make_rollback_script(release=look),
    )
    await world.start("gateway")
    async with world.worker(fitter.plans):
        await world.api.create_ready_store("acme")
        operation = await request_upgrade(world, "acme")
        await world.api.wait_until_done(operation["id"])
    assert [version for version, _ in seen] == ["1.0.0", "1.0.0"]
    assert seen[0][1] == seen[1][1]
    change = seen[0][1]
    assert (change.from_version, change.to_version, change.dump_operation_id) == (
        "1.0.0",
        "2.0.0",
        operation["id"],
    )


async def test_repeated_upgrade_request_returns_same_operation(world: World) -> None:
    await world.start("gateway", "provisioner")
    await world.api.create_ready_store("acme")
    await world.stop("provisioner")
    answers = await asyncio.gather(
        *(world.api.post("/stores/acme/upgrade", {"version": "2.0.0"}) for _ in range(20))
    )
    assert {answer.status for answer in answers} == {202}
    (operation_id,) = {answer.body["operation"]["id"] for answer in answers}
    other = await world.api.post("/stores/acme/upgrade", {"version": "3.0.0"})
    assert (other.status, other.body["code"]) == (409, "not_ready")
    assert operation_id in other.body["detail"]
    back_too = await world.api.post("/stores/acme/rollback", {})
    assert (back_too.status, back_too.body["code"]) == (409, "not_ready")
    await world.start("provisioner")
    assert (await world.api.wait_until_done(operation_id))["state"] == "succeeded"
    again = await world.api.post("/stores/acme/upgrade", {"version": "2.0.0"})
    assert (again.status, again.body["code"]) == (409, "version_unchanged")


async def test_upgrade_is_rejected_with_reason(world: World) -> None:
    await world.start("gateway")
    waiting = await world.api.create("waiting")
    refused = await world.api.post("/stores/waiting/upgrade", {"version": "2.0.0"})
    assert (refused.status, refused.body["code"]) == (409, "not_ready")
    assert "Wait until it is ready" in refused.body["detail"]
    for version in ("9.9.9", "nowhere", "2.0.0 ", "'; DROP TABLE stores; --", "../2.0.0"):
        unknown = await world.api.post("/stores/waiting/upgrade", {"version": version})
        assert (unknown.status, unknown.body["code"]) == (422, "invalid"), version
        assert unknown.body["errors"] == [
            {"pointer": "/version", "detail": "must be one of: 1.0.0, 2.0.0, 3.0.0"}
        ]
    for path in ("upgrade", "rollback"):
        assert (await world.api.post(f"/stores/nobody/{path}", {"version": "2.0.0"})).status == 404
        assert (
            await world.api.call("POST", f"/api/v1/stores/waiting/{path}", data=b"{")
        ).status == 400
        assert (await world.api.post(f"/stores/waiting/{path}", {"more": 1})).status == 422
    await world.execute("UPDATE stores SET engine = 'forgotten'")
    forgotten = await world.api.post("/stores/waiting/upgrade", {"version": "2.0.0"})
    assert (forgotten.status, forgotten.body["code"]) == (409, "engine_unavailable")
    assert (
        await world.value(
            "SELECT count(*) FROM operations WHERE id <> $1", waiting["operation"]["id"]
        )
        == 0
    )


async def test_runtime_without_versions_rejects_upgrade(world: World) -> None:
    await world.start("gateway", "provisioner")
    await world.api.create_ready_store("acme")
    await world.stop("gateway")
    await world.start("gateway", runtime="local")
    for path, body in (("upgrade", {"version": "2.0.0"}), ("rollback", {})):
        refused = await world.api.post(f"/stores/acme/{path}", body)
        assert (refused.status, refused.body["code"]) == (409, "cannot_change_versions")
        assert "create a new store" in refused.body["detail"]


async def test_create_accepts_engine_version(world: World) -> None:
    await world.start("gateway", "provisioner")
    assert (await world.api.create_ready_store("old", version="2.0.0"))["engine_version"] == "2.0.0"
    history = (await world.api.get("/stores/old/history")).body["data"]
    assert [(entry["kind"], entry["to"]) for entry in history] == [("create", "2.0.0")]
    for body, pointer in (({"version": "7"}, "/version"), ({"plan": "huge"}, "/plan")):
        refused = await world.api.post("/stores", {"name": "acme", **body})
        assert refused.status == 422
        assert [error["pointer"] for error in refused.body["errors"]] == [pointer]
    usage = (await world.api.get("/stores/old/usage")).body
    assert usage == {"plan": "", "title": "", "resources": None}


async def test_create_accepts_plan(world: World) -> None:
    await world.start("gateway", "provisioner", engines_path=(POCKET,), default_engine="")
    engine = (await world.api.get("/engines")).body["data"][0]
    assert (engine["name"], engine["default"]) == ("pocket", True)
    small = next(plan for plan in engine["plans"] if plan["default"])
    assert small["name"] == "small"
    assert small["summary"] == {"cpu": "1", "memory": "256Mi", "storage": "150Mi"}
    assert (await world.api.create_ready_store("by-default"))["plan"] == "small"
    assert (await world.api.create_ready_store("chosen", plan="small"))["plan"] == "small"
    refused = await world.api.post("/stores", {"name": "acme", "plan": "huge"})
    assert "must be one of: small" in refused.body["errors"][0]["detail"]
    usage = (await world.api.get("/stores/chosen/usage")).body
    assert (usage["plan"], usage["title"]) == ("small", "Small")
    assert {"name": "pods", "used": "0", "hard": "4", "share": 0.0} in usage["resources"]
    assert (await world.other_api.get("/stores/chosen/usage")).status == 404


async def test_idempotency_key_covers_version_and_plan(world: World) -> None:
    await world.start("gateway")
    key = {"Idempotency-Key": "one"}
    first = await world.api.post("/stores", {"name": "acme", "version": "2.0.0"}, headers=key)
    again = await world.api.post("/stores", {"name": "acme", "version": "2.0.0"}, headers=key)
    assert (again.status, again.body) == (202, first.body)
    other = await world.api.post("/stores", {"name": "acme", "version": "1.0.0"}, headers=key)
    assert other.body["code"] == "idempotency_key_reused"
