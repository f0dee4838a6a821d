"""Upgrades, automatic rollbacks and rollbacks; cancelled, deleted or killed while they run."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from storefleet.core.errors import NothingChanged, PermanentError, TransientError, Wait
from storefleet.core.models import Failure
from storefleet.operations.interruptions import InterruptionRecorder
from storefleet.operations.recorder import OperationRecorder
from storefleet.operations.written_stores import WrittenStores
from storefleet.runtimes.protocol import StepContext
from tests.support.cluster.samples import ENGINES as POCKET
from tests.support.services.polling import eventually
from tests.support.services.scripted_steps import Gate, Script, ScriptedStepPlans, failing, nothing
from tests.support.services.world import World


def broken() -> PermanentError:
    return PermanentError("image_missing", "There is no such image.", next_step="Build it.")


def worse() -> PermanentError:
    return PermanentError("unschedulable", "No node takes it.", next_step="Make room.")


def busy() -> TransientError:
    return TransientError("busy", "The place is busy.", next_step="Wait.")


def back(**steps: Any) -> Script:
    """Return the names of rollback steps without their prefix."""
    return Script(**{f"rollback-{name}": act for name, act in steps.items()})


async def upgrade(world: World, name: str, version: str = "2.0.0") -> dict[str, Any]:
    answer = await world.api.post(f"/stores/{name}/upgrade", {"version": version})
    assert answer.status == 202, answer.text
    return dict(answer.body["operation"])


async def upgraded(world: World, name: str, version: str = "2.0.0") -> dict[str, Any]:
    """Create a store and upgrade it to the version."""
    store = await world.api.create_ready_store(name)
    ended = await world.api.wait_until_done((await upgrade(world, name, version))["id"])
    assert ended["state"] == "succeeded", ended
    return store


async def rollback(world: World, name: str, **how: bool) -> dict[str, Any]:
    answer = await world.api.post(f"/stores/{name}/rollback", how)
    assert answer.status == 202, answer.text
    return dict(answer.body["operation"])


def states(operation: dict[str, Any]) -> list[tuple[str, str]]:
    return [(step["name"], step["state"]) for step in operation["steps"]]


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
        there=Script(dump=look, release=failing(broken, times=1)), back=back(release=look)
    )
    await world.start("gateway")
    async with world.worker(fitter.plans):
        await world.api.create_ready_store("acme")
        operation = await upgrade(world, "acme")
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
    assert (again.status, again.body["code"]) == (409, "already_there")


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


async def test_failed_upgrade_rolls_back_and_records_failure(world: World) -> None:
    await world.start()
    store = await world.api.create_ready_store("acme")
    async with world.listener() as heard:
        ended = await world.api.wait_until_done((await upgrade(world, "acme", "3.0.0"))["id"])
        await heard.wait_for_frame("store.rolled_back")
    assert (ended["state"], ended["attempt"]) == ("failed", 1)
    assert states(ended) == [
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
    assert (await world.api.wait_until_done((await upgrade(world, "acme"))["id"]))[
        "state"
    ] == "succeeded"


async def test_upgrade_deadline_starts_rollback_with_new_deadline(
    world: World,
) -> None:
    await world.start("gateway", "reaper")
    fitter = ScriptedStepPlans(
        there=Script(release=failing(busy, times=10**6)),
        back=back(release=failing(busy, times=3), verify=nothing),
    )
    async with world.worker(fitter.plans):
        await world.api.create_ready_store("acme")
        operation = await upgrade(world, "acme")
        await world.execute(
            "UPDATE operations SET created_at = now() - interval '1 minute', deadline = now() + "
            "interval '0.4 seconds'"
            " WHERE kind = 'upgrade'"
        )
        ended = await world.api.wait_until_done(operation["id"])
    assert (ended["state"], ended["error"]["code"], ended["attempt"]) == ("failed", "busy", 4)
    assert states(ended) == [
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
        ended = await world.api.wait_until_done((await upgrade(world, "acme"))["id"])
    assert states(ended)[:3] == [
        ("dump", "failed"),
        ("release", "cancelled"),
        ("verify", "cancelled"),
    ]
    assert [step["message"] for step in ended["steps"][1:3]] == ["Not started"] * 2


async def test_failed_rollback_is_retried(world: World) -> None:
    await world.start("gateway", "reaper")
    fitter = ScriptedStepPlans(
        there=Script(release=failing(broken, times=9)),
        back=back(release=failing(worse, times=1), verify=nothing),
        rollback=Script(release=failing(worse, times=1), verify=nothing),
    )
    async with world.worker(fitter.plans):
        store = await world.api.create_ready_store("acme")
        operation = await upgrade(world, "acme")
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
        back=back(release=failing(busy, times=10**6)),
    )
    async with world.worker(fitter.plans):
        await world.api.create_ready_store("acme")
        operation = await upgrade(world, "acme")
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
    await upgraded(world, "acme") if kind == "rollback" else await world.api.create_ready_store(
        "acme"
    )
    before = await world.api.store("acme")
    await world.stop("provisioner")
    async with world.worker(fitter.plans):
        operation = await (
            rollback(world, "acme", restore=True) if kind == "rollback" else upgrade(world, "acme")
        )
        ended = await world.api.wait_until_done(operation["id"])
        assert (ended["state"], ended["error"]["code"]) == ("failed", "orders_would_be_lost")
        assert ended["error"]["detail"] == "Two orders would go: 101, 102."
        assert states(ended) == [("orders", "failed"), ("restore", "pending")]
        now = await world.api.store("acme")
        assert {**now, "version": 0} == {**before, "version": 0}
        assert fitter.back.runs == []
        if kind == "rollback":
            again = await rollback(world, "acme", restore=True, discard_orders=True)
            assert again["input"]["discard_orders"] is True
            assert (await world.api.wait_until_done(again["id"]))["state"] == "succeeded"
            assert (await world.api.store("acme"))["engine_version"] == "1.0.0"


async def test_rollback_is_recorded_in_version_history(world: World) -> None:
    await world.start()
    store = await upgraded(world, "acme")
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
    ended = await world.api.wait_until_done((await upgrade(world, "acme", "3.0.0"))["id"])
    assert ended["state"] == "failed"
    await refused()  # the rollback has already happened
    await world.api.wait_until_done((await upgrade(world, "acme"))["id"])
    await world.api.wait_until_done((await rollback(world, "acme"))["id"])
    await refused()  # only once
    await world.api.wait_until_done((await upgrade(world, "acme"))["id"])
    assert (await rollback(world, "acme"))["input"]["to"] == "1.0.0"


async def test_rollbacks_reverse_upgrades_one_by_one(world: World) -> None:
    await world.start("gateway")
    async with world.worker(ScriptedStepPlans().plans):
        await upgraded(world, "acme", "2.0.0")
        await world.api.wait_until_done((await upgrade(world, "acme", "3.0.0"))["id"])
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
        await upgraded(world, "acme")
        operation = await rollback(world, "acme", restore=True)
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


async def test_cancelled_queued_upgrade_changes_nothing(world: World) -> None:
    await world.start("gateway", "provisioner")
    before = await world.api.create_ready_store("acme")
    await world.stop("provisioner")
    operation = await upgrade(world, "acme")
    answer = await world.api.post(f"/operations/{operation['id']}/cancel")
    assert (answer.status, answer.body["state"]) == (200, "cancelled")
    assert await world.api.store("acme") == before
    await world.start("provisioner")
    await upgraded_again(world)


async def upgraded_again(world: World) -> None:
    assert (await world.api.wait_until_done((await upgrade(world, "acme"))["id"]))[
        "state"
    ] == "succeeded"


async def test_cancelled_running_upgrade_rolls_back(world: World) -> None:
    gate, way = Gate(), Gate()
    await world.start("gateway")
    fitter = ScriptedStepPlans(
        there=Script(dump=nothing, release=gate, verify=nothing), back=back(release=way)
    )
    async with world.worker(fitter.plans, lease=60):
        await world.api.create_ready_store("acme")
        operation = await upgrade(world, "acme")
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
        assert states(ended) == [
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
        operation = await upgrade(world, "acme")

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
    operation = await upgrade(world, "acme")
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
        await upgraded(world, "acme")
        operation = await rollback(world, "acme")
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
            there=Script(release=failing(broken, times=1)), back=back(release=gate)
        ),
        "rollback": lambda: ScriptedStepPlans(rollback=Script(release=gate)),
    }
    await world.start("gateway", "reaper")
    async with world.worker(fitters[where]().plans, lease=60):
        if where == "rollback":
            await upgraded(world, "acme")
            operation = await rollback(world, "acme")
        else:
            await world.api.create_ready_store("acme")
            operation = await upgrade(world, "acme")
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
    first = ScriptedStepPlans(there=there, back=back(release=nothing, verify=gate))
    await world.start("gateway", "reaper")
    async with world.worker(first.plans, shutdown_grace=0.1):
        await world.api.create_ready_store("acme")
        operation = await upgrade(world, "acme")
        await gate.waited_for()
    second = ScriptedStepPlans(
        there=Script(dump=nothing, release=nothing), back=back(release=nothing, verify=nothing)
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
    operation_id = (await upgrade(world, "acme"))["id"]
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
        there=Script(release=failing(broken, times=1)), back=back(release=waits)
    )
    async with world.worker(fitter.plans):
        await world.api.create_ready_store("acme")
        ended = await world.api.wait_until_done((await upgrade(world, "acme"))["id"])
    assert (ended["state"], ended["attempt"]) == ("failed", 1)
    assert (await world.api.store("acme"))["state"] == "ready"


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
