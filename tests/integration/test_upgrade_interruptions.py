"""Upgrades and rollbacks that are cancelled, deleted or taken over while they run."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from storefleet.core.errors import Wait
from storefleet.core.models import Failure
from storefleet.operations.interruptions import InterruptionRecorder
from storefleet.operations.recorder import OperationRecorder
from storefleet.operations.written_stores import WrittenStores
from tests.support.services.polling import eventually
from tests.support.services.scripted_steps import Gate, Script, ScriptedStepPlans, failing, nothing
from tests.support.services.version_requests import (
    broken,
    busy,
    list_step_states,
    make_rollback_script,
    request_rollback,
    request_upgrade,
    upgrade_new_store,
)
from tests.support.services.world import World


async def test_cancelled_queued_upgrade_changes_nothing(world: World) -> None:
    await world.start("gateway", "provisioner")
    before = await world.api.create_ready_store("acme")
    await world.stop("provisioner")
    operation = await request_upgrade(world, "acme")
    answer = await world.api.post(f"/operations/{operation['id']}/cancel")
    assert (answer.status, answer.body["state"]) == (200, "cancelled")
    assert await world.api.store("acme") == before
    await world.start("provisioner")
    await upgraded_again(world)


async def upgraded_again(world: World) -> None:
    assert (await world.api.wait_until_done((await request_upgrade(world, "acme"))["id"]))[
        "state"
    ] == "succeeded"


async def test_cancelled_running_upgrade_rolls_back(world: World) -> None:
    gate, way = Gate(), Gate()
    await world.start("gateway")
    fitter = ScriptedStepPlans(
        there=Script(dump=nothing, release=gate, verify=nothing),
        back=make_rollback_script(release=way),
    )
    async with world.worker(fitter.plans, lease=60):
        await world.api.create_ready_store("acme")
        operation = await request_upgrade(world, "acme")
        await gate.waited_for()
        answer = await world.api.post(f"/operations/{operation['id']}/cancel")
        assert (answer.status, answer.body["cancel_requested"]) == (202, True)
        await way.waited_for()
        assert (await world.api.store("acme"))["state"] == "rolling_back"
        again = await world.api.post(f"/operations/{operation['id']}/cancel")
        assert (again.status, again.body["code"]) == (409, "not_cancellable")
        repeated = await world.api.post("/stores/acme/upgrade", {"version": "2.0.0"})
        assert (repeated.status, repeated.body["code"]) == (409, "not_ready")
        way.open()
        ended = await world.api.wait_until_done(operation["id"])
        assert (ended["state"], ended["error"]["code"], ended["cancel_requested"]) == (
            "failed",
            "cancelled",
            False,
        )
        assert ended["error"]["detail"].endswith("The store is back on 1.0.0.")
        assert list_step_states(ended) == [
            *(("dump", "succeeded"), ("release", "cancelled"), ("verify", "cancelled")),
            ("rollback-release", "succeeded"),
        ]
        assert (await world.api.store("acme"))["state"] == "ready"
        gate.open()
        await upgraded_again(world)


async def test_cancelled_upgrade_between_attempts_rolls_back(world: World) -> None:
    await world.start("gateway")
    fitter = ScriptedStepPlans(there=Script(release=failing(busy, times=1)))
    async with world.worker(fitter.plans, retry_delays=(30.0,)):
        await world.api.create_ready_store("acme")
        operation = await request_upgrade(world, "acme")

        async def paused() -> bool:
            found = (await world.api.get(f"/operations/{operation['id']}")).body
            return bool(found["state"] == "queued" and found["attempt"] == 2)

        await eventually(paused)
        answer = await world.api.post(f"/operations/{operation['id']}/cancel")
        assert answer.body["state"] in ("queued", "running")
        ended = await world.api.wait_until_done(operation["id"], within=5)
    assert (ended["state"], ended["error"]["code"]) == ("failed", "cancelled")
    assert (await world.api.store("acme"))["state"] == "ready"


async def test_cancelled_upgrade_of_lost_worker_rolls_back(world: World) -> None:
    await world.start("gateway", "provisioner")
    await world.api.create_ready_store("acme")
    await world.stop("provisioner")
    operation = await request_upgrade(world, "acme")
    await world.execute(
        "UPDATE operations SET state = 'running', fence = 1, lease_owner = 'gone', lease_until = "
        "now(), started_at ="
        " now() WHERE id = $1",
        operation["id"],
    )
    await world.execute("UPDATE stores SET state = 'upgrading', version = version + 1")
    assert (await world.api.post(f"/operations/{operation['id']}/cancel")).status == 202
    await world.start("reaper")
    await world.api.wait_for_state("acme", "rolling_back")
    assert await world.value("SELECT fence FROM operations WHERE id = $1", operation["id"]) == 2
    await world.start("provisioner")
    ended = await world.api.wait_until_done(operation["id"])
    assert (ended["state"], ended["error"]["code"]) == ("failed", "cancelled")


async def test_started_rollback_is_not_cancellable(world: World) -> None:
    gate = Gate()
    await world.start("gateway")
    async with world.worker(ScriptedStepPlans(rollback=Script(release=gate)).plans):
        await upgrade_new_store(world, "acme")
        operation = await request_rollback(world, "acme")
        await gate.waited_for()
        answer = await world.api.post(f"/operations/{operation['id']}/cancel")
        assert (answer.status, answer.body["code"]) == (409, "not_cancellable")
        gate.open()
        assert (await world.api.wait_until_done(operation["id"]))["state"] == "succeeded"


@pytest.mark.parametrize("where", ["there", "back", "rollback"])
async def test_delete_during_upgrade_removes_store(world: World, where: str) -> None:
    gate = Gate()
    fitters: dict[str, Callable[[], ScriptedStepPlans]] = {
        "there": lambda: ScriptedStepPlans(there=Script(release=gate)),
        "back": lambda: ScriptedStepPlans(
            there=Script(release=failing(broken, times=1)), back=make_rollback_script(release=gate)
        ),
        "rollback": lambda: ScriptedStepPlans(rollback=Script(release=gate)),
    }
    await world.start("gateway", "reaper")
    async with world.worker(fitters[where]().plans, lease=60):
        if where == "rollback":
            await upgrade_new_store(world, "acme")
            operation = await request_rollback(world, "acme")
        else:
            await world.api.create_ready_store("acme")
            operation = await request_upgrade(world, "acme")
        await gate.waited_for()
        deletion = (await world.api.delete("/stores/acme")).body["operation"]
        assert (await world.api.wait_until_done(operation["id"]))["state"] == "cancelled"
        assert (await world.api.wait_until_done(deletion["id"]))["state"] == "succeeded"
    assert await world.value("SELECT state FROM stores") == "deleted"


async def test_concurrent_upgrades_and_deletions_are_consistent(world: World) -> None:
    """In any order, every store is deleted and no operation stays open."""
    await world.start()
    stores = [await world.api.create_ready_store(f"store-{number}") for number in range(8)]
    for _ in range(3):
        answers = await asyncio.gather(
            *(world.api.post(f"/stores/{s['id']}/upgrade", {"version": "2.0.0"}) for s in stores),
            *(world.api.post(f"/stores/{s['id']}/upgrade", {"version": "3.0.0"}) for s in stores),
            *(world.api.post(f"/stores/{s['id']}/rollback", {}) for s in stores),
            *(world.api.delete(f"/stores/{s['id']}") for s in stores[:4]),
        )
        assert {answer.status for answer in answers} <= {202, 409}
        await world.wait_until_settled()
    for store in stores[:4]:
        assert (await world.api.store(store["id"]))["state"] == "deleted"
    for store in stores[4:]:
        now = await world.api.store(store["id"])
        assert (now["state"], now["failure"]) == ("ready", None)
        succeeded = [e for e in (await world.api.get(f"/stores/{store['id']}/history")).body["data"]
                     if e["state"] == "succeeded"]  # fmt: skip
        assert now["engine_version"] == succeeded[0]["to"]


@pytest.mark.parametrize("turned", [False, True])
async def test_next_worker_resumes_interrupted_upgrade(world: World, turned: bool) -> None:
    gate = Gate()
    there = (
        Script(dump=nothing, release=failing(broken, times=1))
        if turned
        else Script(dump=nothing, release=gate)
    )
    first = ScriptedStepPlans(there=there, back=make_rollback_script(release=nothing, verify=gate))
    await world.start("gateway", "reaper")
    async with world.worker(first.plans, shutdown_grace=0.1):
        await world.api.create_ready_store("acme")
        operation = await request_upgrade(world, "acme")
        await gate.waited_for()
    second = ScriptedStepPlans(
        there=Script(dump=nothing, release=nothing),
        back=make_rollback_script(release=nothing, verify=nothing),
    )
    async with world.worker(second.plans):
        ended = await world.api.wait_until_done(operation["id"])
    assert ended["state"] == ("failed" if turned else "succeeded")
    ran = [name for name, _ in (*second.there.runs, *second.back.runs)]
    assert ran == (["rollback-verify"] if turned else ["release"]), (
        "what was done is not done again"
    )
    assert (await world.api.store("acme"))["engine_version"] == ("1.0.0" if turned else "2.0.0")


async def test_repeated_rollback_transition_is_recorded_once(world: World) -> None:
    """A worker that lost the reply to its write writes again."""
    await world.start("gateway", "provisioner")
    store = await world.api.create_ready_store("acme")
    await world.stop("provisioner")
    operation_id = (await request_upgrade(world, "acme"))["id"]
    fitter = ScriptedStepPlans()
    written_stores = WrittenStores()
    recorder = OperationRecorder(database=world.database, written_stores=written_stores)
    interruptions = InterruptionRecorder(database=world.database, written_stores=written_stores)
    lease = timedelta(seconds=60)
    claimed = await recorder.claim(
        operation_id,
        store_id=store["id"],
        owner="me",
        lease_duration=lease,
        step_plans=fitter.plans,
    )
    assert claimed is not None
    failure = Failure(code="image_missing", detail="No.", next="Build it.")
    steps = fitter.back(*claimed)
    turned = [
        await interruptions.record_failure(
            claimed[1], failure, dead_letter=False, rollback_steps=steps
        )
        for _ in range(2)
    ]
    assert turned[0] == turned[1]
    assert (turned[0].state, turned[0].error) == ("running", failure)
    assert [step.state for step in turned[0].steps[-2:]] == ["running", "pending"]
    assert (await world.api.store("acme"))["state"] == "rolling_back"
    await world.execute("UPDATE operations SET cancel_requested = true WHERE id = $1", operation_id)
    await world.execute("UPDATE stores SET state = 'deleting', version = version + 1")
    assert (await interruptions.record_cancellation(turned[1])).state == "cancelled"


async def test_wait_during_rollback_consumes_no_attempt(world: World) -> None:
    await world.start("gateway", "reaper")
    waits = failing(lambda: Wait("Not yet.", delay=0.02), times=5)
    fitter = ScriptedStepPlans(
        there=Script(release=failing(broken, times=1)), back=make_rollback_script(release=waits)
    )
    async with world.worker(fitter.plans):
        await world.api.create_ready_store("acme")
        ended = await world.api.wait_until_done((await request_upgrade(world, "acme"))["id"])
    assert (ended["state"], ended["attempt"]) == ("failed", 1)
    assert (await world.api.store("acme"))["state"] == "ready"
