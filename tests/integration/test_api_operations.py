"""Operations over HTTP: lists, waiting, cancelling, and deleting during another operation."""

import asyncio
import time

from yarl import URL

from storefleet.core.errors import PermanentError
from tests.support.services.polling import eventually
from tests.support.services.scripted_steps import Gate, Script, failing
from tests.support.services.world import World


def broken() -> PermanentError:
    return PermanentError("no_template", "The template is broken.", next_step="Repair it.")


async def test_operations_are_listed_and_filtered(world: World) -> None:
    await world.start()
    first, second = (
        await world.api.create_ready_store("first"),
        await world.api.create_ready_store("second"),
    )
    deletion = (await world.api.delete("/stores/first")).body["operation"]
    await world.api.wait_until_done(deletion["id"])
    answer = await world.api.get("/operations")
    assert [(op["store_id"], op["kind"]) for op in answer.body["data"]] == [
        (first["id"], "delete"),
        (second["id"], "create"),
        (first["id"], "create"),
    ]
    of_store = await world.api.get(f"/operations?store_id={first['id']}&limit=1")
    assert [op["id"] for op in of_store.body["data"]] == [deletion["id"]]
    assert of_store.body["has_more"] is True
    rest = await world.api.get(
        f"/operations?store_id={first['id']}&starting_after={deletion['id']}"
    )
    assert [op["kind"] for op in rest.body["data"]] == ["create"]
    assert len((await world.api.get("/operations?state=succeeded")).body["data"]) == 3
    assert (await world.api.get("/operations?state=running")).body["data"] == []
    for query in ("state=done", "store_id=x", "limit=0", "starting_after=sto_aaaaaaaaaaaaaaaa"):
        assert (await world.api.get(f"/operations?{query}")).status == 422


async def test_wait_ends_with_operation_or_timeout(world: World) -> None:
    gate = Gate()
    await world.start("gateway")
    async with world.worker(Script(only=gate)):
        operation = (await world.api.create("awaited"))["operation"]
        await gate.waited_for()
        began = time.monotonic()
        early = await world.api.get(f"/operations/{operation['id']}?wait=1")
        assert early.body["state"] == "running"
        assert early.body["steps"][0]["state"] == "running"
        assert 0.9 < time.monotonic() - began < 3
        waiting = asyncio.create_task(world.api.get(f"/operations/{operation['id']}?wait=30"))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        gate.open()
        ended = await asyncio.wait_for(waiting, timeout=3)
        assert ended.body["state"] == "succeeded"
    for wrong in ("61", "-1", "x"):
        assert (await world.api.get(f"/operations/{operation['id']}?wait={wrong}")).status == 422


async def test_running_create_is_cancelled_at_once(world: World) -> None:
    gate = Gate()
    await world.start("gateway")
    async with world.worker(Script(before=gate, after=gate), lease=60):
        accepted = await world.api.create("unwanted")
        await gate.waited_for()
        began = time.monotonic()
        answer = await world.api.post(f"/operations/{accepted['operation']['id']}/cancel")
        assert answer.status == 202
        assert answer.body["cancel_requested"] is True
        ended = await world.api.wait_until_done(accepted["operation"]["id"])
        assert time.monotonic() - began < 2  # lease and heartbeat are far longer
    assert ended["state"] == "cancelled"
    assert [step["state"] for step in ended["steps"]] == ["cancelled", "pending"]
    store = await world.api.store("unwanted")
    assert store["state"] == "failed"
    assert store["failure"]["code"] == "cancelled"
    again = await world.api.post(f"/operations/{accepted['operation']['id']}/cancel")
    assert (again.status, again.body["state"]) == (200, "cancelled")


async def test_queued_create_is_cancelled_by_gateway(world: World) -> None:
    await world.start("gateway")
    accepted = await world.api.create("never-begun")
    answer = await world.api.post(f"/operations/{accepted['operation']['id']}/cancel")
    assert (answer.status, answer.body["state"], answer.body["done"]) == (200, "cancelled", True)
    assert (await world.api.store("never-begun"))["failure"]["code"] == "cancelled"
    script = Script()
    async with world.worker(script):
        retried = await world.api.post("/stores/never-begun/retry")
        assert (await world.api.wait_until_done(retried.body["operation"]["id"]))[
            "state"
        ] == "succeeded"
    assert script.count("only") == 1  # the first command was acknowledged and left alone
    assert (await world.api.store("never-begun"))["failure"] is None


async def test_create_between_attempts_is_cancelled_with_steps(world: World) -> None:
    await world.start("gateway")
    wait = failing(lambda: ConnectionError("far away"), times=1)
    async with world.worker(Script(only=wait), retry_delays=(30.0,)):
        accepted = await world.api.create("pausing")

        async def paused() -> bool:
            found = (await world.api.get(f"/operations/{accepted['operation']['id']}")).body
            return bool(found["state"] == "queued" and found["attempt"] == 2)

        await eventually(paused)
        answer = await world.api.post(f"/operations/{accepted['operation']['id']}/cancel")
    assert answer.body["state"] == "cancelled"
    assert [step["state"] for step in answer.body["steps"]] == ["cancelled"]
    stored = await world.api.get(f"/operations/{accepted['operation']['id']}")
    assert [step["state"] for step in stored.body["steps"]] == ["cancelled"]


async def test_delete_is_not_cancellable(world: World) -> None:
    await world.start("gateway", "provisioner")
    await world.api.create_ready_store("going")
    deletion = (await world.api.delete("/stores/going")).body["operation"]
    answer = await world.api.post(f"/operations/{deletion['id']}/cancel")
    assert (answer.status, answer.body["code"]) == (409, "not_cancellable")


async def test_delete_cancels_running_create(world: World) -> None:
    gate = Gate()
    creating = Script(only=gate)
    await world.start("gateway", "reaper")
    async with world.worker(creating):
        accepted = await world.api.create("cut-short")
        await gate.waited_for()
        answer = await world.api.delete("/stores/cut-short")
        assert answer.status == 202
        assert answer.body["store"]["state"] == "deleting"
        again = await world.api.delete("/stores/cut-short")
        assert again.body["operation"]["id"] == answer.body["operation"]["id"]
        deletion = await world.api.wait_until_done(answer.body["operation"]["id"])
        creation = await world.api.wait_until_done(accepted["operation"]["id"])
    assert (creation["state"], deletion["state"]) == ("cancelled", "succeeded")
    assert creation["finished_at"] <= deletion["started_at"]
    assert (await world.api.store(accepted["store"]["id"]))["state"] == "deleted"
    assert creating.most[accepted["store"]["id"]] == 1


async def test_delete_is_accepted_in_every_live_state(world: World) -> None:
    await world.start("gateway", "reaper")
    requested = await world.api.create("requested")  # no provisioner runs yet
    answer = await world.api.delete("/stores/requested")
    assert (await world.api.wait_until_done(answer.body["operation"]["id"]))["state"] == "succeeded"
    assert (await world.api.wait_until_done(requested["operation"]["id"]))["state"] == "cancelled"

    async with world.worker(Script(only=failing(broken, times=1))):
        failed = await world.api.create("failed")
        assert (await world.api.wait_until_done(failed["operation"]["id"]))["state"] == "failed"
        store = await world.api.store("failed")
        assert store["state"] == "failed"
        assert store["failure"] == {
            "code": "no_template",
            "detail": "The template is broken.",
            "step": "only",
            "next": "Repair it.",
            "retryable": True,
        }
        answer = await world.api.delete("/stores/failed")
        assert answer.body["store"]["failure"] is None
        assert (await world.api.wait_until_done(answer.body["operation"]["id"]))[
            "state"
        ] == "succeeded"

    repeat = await world.api.delete(f"/stores/{failed['store']['id']}")
    assert repeat.status == 202
    assert repeat.body["operation"]["id"] == answer.body["operation"]["id"]
    assert repeat.body["store"]["state"] == "deleted"


async def test_parallel_deletes_are_one_operation(world: World) -> None:
    await world.start()
    store = await world.api.create_ready_store("once-only")
    answers = await asyncio.gather(*(world.api.delete(f"/stores/{store['id']}") for _ in range(20)))
    assert {answer.status for answer in answers} == {202}
    assert len({answer.body["operation"]["id"] for answer in answers}) == 1


async def test_failed_delete_is_retried_or_requested_again(world: World) -> None:
    await world.start("gateway", "provisioner")
    await world.api.create_ready_store("sticky")
    async with world.worker(Script(only=failing(broken, times=2)), service="reaper", kind="delete"):
        first = (await world.api.delete("/stores/sticky")).body["operation"]
        assert (await world.api.wait_until_done(first["id"]))["state"] == "failed"
        assert (await world.api.store("sticky"))["state"] == "failed"
        second = await world.api.post("/stores/sticky/retry")
        assert second.status == 202
        assert second.body["operation"]["kind"] == "delete"
        assert second.body["store"]["state"] == "deleting"
        assert (await world.api.wait_until_done(second.body["operation"]["id"]))[
            "state"
        ] == "failed"
        third = await world.api.delete("/stores/sticky")
        assert third.body["operation"]["id"] not in (first["id"], second.body["operation"]["id"])
        assert (await world.api.wait_until_done(third.body["operation"]["id"]))[
            "state"
        ] == "succeeded"


async def test_retry_continues_from_failed_step(world: World) -> None:
    await world.start("gateway")
    script = Script(one=failing(broken, times=0), two=failing(broken, times=1))
    async with world.worker(script):
        failed = await world.api.create("continued")
        assert (await world.api.wait_until_done(failed["operation"]["id"]))["state"] == "failed"
        retried = (await world.api.post("/stores/continued/retry")).body
        assert retried["store"]["state"] == "requested"
        assert retried["operation"]["id"] != failed["operation"]["id"]
        assert (await world.api.wait_until_done(retried["operation"]["id"]))["state"] == "succeeded"
    assert (await world.api.store("continued"))["state"] == "ready"


async def test_unknown_operation_returns_404(world: World) -> None:
    await world.start("gateway")
    headers = {"Authorization": f"Bearer {world.admin.token}"}
    for operation_id in (
        "op_aaaaaaaaaaaaaaaa",
        "x",
        "%00",
        "%FF",
        "a" * 300,
        "sto_aaaaaaaaaaaaaaaa",
    ):
        for method, path in (("GET", ""), ("POST", "/cancel")):
            url = URL(f"{world.url}/api/v1/operations/{operation_id}{path}", encoded=True)
            async with world.session.request(method, url, headers=headers) as response:
                assert response.status == 404, await response.text()
