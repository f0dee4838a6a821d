"""Automatic rollbacks of failed upgrades: their causes, failures and retries."""

import pytest

from storefleet.core.errors import NothingChanged
from tests.support.services.scripted_steps import Script, ScriptedStepPlans, failing, nothing
from tests.support.services.version_requests import (
    broken,
    busy,
    list_step_states,
    make_rollback_script,
    request_rollback,
    request_upgrade,
    upgrade_new_store,
    worse,
)
from tests.support.services.world import World


async def test_failed_upgrade_rolls_back_and_records_failure(world: World) -> None:
    await world.start()
    store = await world.api.create_ready_store("acme")
    async with world.listener() as heard:
        ended = await world.api.wait_until_done(
            (await request_upgrade(world, "acme", "3.0.0"))["id"]
        )
        await heard.wait_for_frame("store.rolled_back")
    assert (ended["state"], ended["attempt"]) == ("failed", 1)
    assert list_step_states(ended) == [
        ("baseline", "succeeded"),
        ("dump", "succeeded"),
        ("release", "failed"),
        ("rollback-release", "succeeded"),
    ]
    assert ended["error"]["code"] == "image_missing"
    assert ended["error"]["step"] == "release"
    assert (
        ended["error"]["detail"]
        == "The image of version 3.0.0 does not exist. The store is back on 1.0.0."
    )
    assert ended["error"]["next"]
    told = [each for each in heard.types(store["id"]) if each != "store.step"]
    assert told == ["store.upgrading", "store.rolling_back", "store.rolled_back"]
    on_its_way = next(f for f in heard.frames if f["type"] == "store.rolling_back")["data"]
    assert (on_its_way["operation"]["state"], on_its_way["operation"]["error"]["code"]) == (
        "running",
        "image_missing",
    )
    now = await world.api.store("acme")
    assert (now["state"], now["engine_version"], now["failure"]) == ("ready", "1.0.0", None)
    assert (await world.api.get("/dead-letters")).body["data"] == []
    assert (await world.api.wait_until_done((await request_upgrade(world, "acme"))["id"]))[
        "state"
    ] == "succeeded"


async def test_upgrade_deadline_starts_rollback_with_new_deadline(
    world: World,
) -> None:
    await world.start("gateway", "reaper")
    fitter = ScriptedStepPlans(
        there=Script(release=failing(busy, times=10**6)),
        back=make_rollback_script(release=failing(busy, times=3), verify=nothing),
    )
    async with world.worker(fitter.plans):
        await world.api.create_ready_store("acme")
        operation = await request_upgrade(world, "acme")
        await world.execute(
            "UPDATE operations SET created_at = now() - interval '1 minute', deadline = now() + "
            "interval '0.4 seconds'"
            " WHERE kind = 'upgrade'"
        )
        ended = await world.api.wait_until_done(operation["id"])
    assert (ended["state"], ended["error"]["code"], ended["attempt"]) == ("failed", "busy", 4)
    assert list_step_states(ended) == [
        ("release", "failed"),
        ("rollback-release", "succeeded"),
        ("rollback-verify", "succeeded"),
    ]
    assert (await world.api.store("acme"))["state"] == "ready"
    assert fitter.back.count("rollback-release") == 4
    assert (await world.api.get("/dead-letters")).body["data"] == []


async def test_unstarted_steps_are_skipped(world: World) -> None:
    await world.start("gateway")
    fitter = ScriptedStepPlans(
        there=Script(dump=failing(broken, times=1), release=nothing, verify=nothing)
    )
    async with world.worker(fitter.plans):
        await world.api.create_ready_store("acme")
        ended = await world.api.wait_until_done((await request_upgrade(world, "acme"))["id"])
    assert list_step_states(ended)[:3] == [
        ("dump", "failed"),
        ("release", "cancelled"),
        ("verify", "cancelled"),
    ]
    assert [step["message"] for step in ended["steps"][1:3]] == ["Not started"] * 2


async def test_failed_rollback_is_retried(world: World) -> None:
    await world.start("gateway", "reaper")
    fitter = ScriptedStepPlans(
        there=Script(release=failing(broken, times=9)),
        back=make_rollback_script(release=failing(worse, times=1), verify=nothing),
        rollback=Script(release=failing(worse, times=1), verify=nothing),
    )
    async with world.worker(fitter.plans):
        store = await world.api.create_ready_store("acme")
        operation = await request_upgrade(world, "acme")
        ended = await world.api.wait_until_done(operation["id"])
        assert (ended["state"], ended["error"]["code"]) == ("failed", "rollback_failed")
        failed = await world.api.store("acme")
        assert (failed["state"], failed["engine_version"]) == ("failed", "1.0.0")
        assert failed["failure"] == ended["error"]
        for word in (
            "There is no such image.",
            "image_missing",
            "No node takes it.",
            "unschedulable",
        ):
            assert word in failed["failure"]["detail"]
        assert (
            failed["failure"]["next"] == "Make room. Then retry: the store is rolled back to 1.0.0."
        )
        refused = await world.api.post("/stores/acme/upgrade", {"version": "2.0.0"})
        assert (refused.status, refused.body["code"]) == (409, "not_ready")

        asked = {
            "from": "2.0.0",
            "to": "1.0.0",
            "restore": False,
            "discard_orders": False,
            "dump": operation["id"],
        }
        for outcome, state in (("failed", "failed"), ("succeeded", "ready")):
            retried = (await world.api.post("/stores/acme/retry")).body
            assert (retried["store"]["state"], retried["operation"]["kind"]) == (
                "rolling_back",
                "rollback",
            )
            assert retried["operation"]["input"] == asked
            assert (await world.api.wait_until_done(retried["operation"]["id"]))["state"] == outcome
            assert (await world.api.store("acme"))["state"] == state
    await world.wait_until_settled()
    events = (await world.api.get("/stores/acme/events?limit=100")).body["data"]
    told = [event["type"] for event in reversed(events) if event["type"] != "store.step"]
    assert told[2:] == [
        *("store.ready", "store.upgrading", "store.rolling_back", "store.failed"),
        *("store.rolling_back", "store.failed", "store.rolling_back", "store.rolled_back"),
    ]
    now = await world.api.store(store["id"])
    assert (now["engine_version"], now["failure"]) == ("1.0.0", None)


async def test_expired_rollback_becomes_replayable_dead_letter(
    world: World,
) -> None:
    await world.start("gateway", "reaper")
    fitter = ScriptedStepPlans(
        there=Script(release=failing(broken, times=1)),
        back=make_rollback_script(release=failing(busy, times=10**6)),
    )
    async with world.worker(fitter.plans):
        await world.api.create_ready_store("acme")
        operation = await request_upgrade(world, "acme")
        await world.api.wait_for_state("acme", "rolling_back")
        await world.execute("UPDATE operations SET deadline = now() WHERE kind = 'upgrade'")
        assert (await world.api.wait_until_done(operation["id"]))["error"][
            "code"
        ] == "rollback_failed"
        (letter,) = (await world.api.get("/dead-letters")).body["data"]
        replayed = await world.api.post(f"/dead-letters/{letter['id']}/replay")
        assert replayed.body["operation"]["kind"] == "rollback"
        assert (await world.api.wait_until_done(replayed.body["operation"]["id"]))[
            "state"
        ] == "succeeded"


@pytest.mark.parametrize("kind", ["upgrade", "rollback"])
async def test_upgrade_failed_in_preflight_leaves_store_unchanged(world: World, kind: str) -> None:
    def refusal() -> NothingChanged:
        return NothingChanged(
            "orders_would_be_lost",
            "Two orders would go: 101, 102.",
            next_step="Accept that, or keep them.",
        )

    script = Script(orders=failing(refusal, times=1), restore=nothing)
    fitter = ScriptedStepPlans(**{"there" if kind == "upgrade" else kind: script})
    await world.start("gateway", "provisioner")
    await upgrade_new_store(
        world, "acme"
    ) if kind == "rollback" else await world.api.create_ready_store("acme")
    before = await world.api.store("acme")
    await world.stop("provisioner")
    async with world.worker(fitter.plans):
        operation = await (
            request_rollback(world, "acme", restore=True)
            if kind == "rollback"
            else request_upgrade(world, "acme")
        )
        ended = await world.api.wait_until_done(operation["id"])
        assert (ended["state"], ended["error"]["code"]) == ("failed", "orders_would_be_lost")
        assert ended["error"]["detail"] == "Two orders would go: 101, 102."
        assert list_step_states(ended) == [("orders", "failed"), ("restore", "pending")]
        now = await world.api.store("acme")
        assert {**now, "version": 0} == {**before, "version": 0}
        assert fitter.back.runs == []
        if kind == "rollback":
            again = await request_rollback(world, "acme", restore=True, discard_orders=True)
            assert again["input"]["discard_orders"] is True
            assert (await world.api.wait_until_done(again["id"]))["state"] == "succeeded"
            assert (await world.api.store("acme"))["engine_version"] == "1.0.0"
