"""The worker: attempts, waits, order per store, lease release, and outages."""

import asyncio
import time
from typing import Any

import pytest

from storefleet.core.errors import PermanentError, RuntimeUnavailable, TransientError, Wait
from storefleet.database.outbox_rows import make_command
from storefleet.runtimes.protocol import StepContext
from tests.support.services.polling import eventually
from tests.support.services.scripted_steps import Gate, Script, failing, nothing
from tests.support.services.world import World


def busy() -> TransientError:
    return TransientError("busy", "The place is busy.", next_step="Wait.")


async def test_transient_failure_retries_from_failed_step(world: World) -> None:
    await world.start("gateway", "reaper")
    script = Script(one=nothing, two=failing(busy, times=2), three=nothing)
    async with world.worker(script):
        accepted = await world.api.create("stubborn")
        ended = await world.api.wait_until_done(accepted["operation"]["id"])
    assert (ended["state"], ended["attempt"], ended["error"]) == ("succeeded", 3, None)
    assert [step for step, _ in script.runs] == ["one", "two", "two", "two", "three"]
    assert [step["state"] for step in ended["steps"]] == ["succeeded"] * 3
    assert [step["message"] for step in ended["steps"]] == ["one done", "two done", "three done"]
    await world.wait_until_settled()
    events = (await world.api.get("/stores/stubborn/events?limit=100")).body["data"]
    messages = [step["message"] for event in events for step in event["data"]["operation"]["steps"]]
    assert "The place is busy. Retrying in 0 s." in messages


async def test_backoff_grows(world: World) -> None:
    await world.start("gateway", "reaper")
    script = Script(only=failing(busy, times=3))
    async with world.worker(script, retry_delays=(0.1, 0.4, 0.8)):
        accepted = await world.api.create("patient")
        began = time.monotonic()
        ended = await world.api.wait_until_done(accepted["operation"]["id"])
    assert ended["attempt"] == 4
    assert time.monotonic() - began > 0.8 * (0.1 + 0.4 + 0.8)


async def test_unexpected_error_is_retried_and_explained(world: World) -> None:
    await world.start("gateway", "reaper")
    async with world.worker(Script(only=failing(lambda: KeyError("secret detail"), times=10**6))):
        accepted = await world.api.create("crashing")
        await world.execute("UPDATE operations SET deadline = now() + interval '0.3 seconds'")
        ended = await world.api.wait_until_done(accepted["operation"]["id"])
    assert ended["error"]["code"] == "internal_error"
    assert ended["error"]["detail"] == "KeyError in the step"
    assert ended["error"]["step"] == "only"


async def test_permanent_failure_ends_operation_at_once(world: World) -> None:
    await world.start("gateway")
    script = Script(
        one=nothing,
        two=failing(lambda: PermanentError("no", "It cannot be.", next_step="Ask."), times=9),
        three=nothing,
    )
    async with world.worker(script):
        accepted = await world.api.create("hopeless")
        ended = await world.api.wait_until_done(accepted["operation"]["id"])
    assert (ended["state"], ended["attempt"]) == ("failed", 1)
    assert ended["error"] == {
        "code": "no",
        "detail": "It cannot be.",
        "step": "two",
        "next": "Ask.",
        "retryable": True,
    }
    assert [step["state"] for step in ended["steps"]] == ["succeeded", "failed", "pending"]
    assert (await world.api.get("/dead-letters")).body["data"] == []
    assert script.count("two") == 1


@pytest.mark.parametrize(
    "error", [lambda: Wait("Not yet.", delay=0.05), lambda: RuntimeUnavailable("Not there.")]
)
async def test_wait_consumes_no_attempt(world: World, error: Any) -> None:
    await world.start("gateway", "reaper")
    gate = Gate()

    async def until_opened(_work: StepContext) -> None:
        gate.reached.set()
        if not gate.opened.is_set():
            raise error()

    script = Script(only=until_opened)
    async with world.worker(script):
        accepted = await world.api.create("waiting")
        await gate.waited_for()

        async def shown() -> bool:
            found = (await world.api.get(f"/operations/{accepted['operation']['id']}")).body
            return found["state"] == "queued" and found["steps"][0]["message"] in (
                "Not yet.",
                "Not there.",
            )

        await eventually(shown)
        gate.open()
        ended = await world.api.wait_until_done(accepted["operation"]["id"])
    assert (ended["state"], ended["attempt"]) == ("succeeded", 1)


async def test_wait_continues_after_deadline(world: World) -> None:
    """A long outage of a dependency fails no store."""
    await world.start("gateway", "reaper")
    script = Script(only=failing(lambda: Wait("Not yet.", delay=0.02), times=5))
    async with world.worker(script):
        accepted = await world.api.create("patience")
        await world.execute("UPDATE operations SET deadline = now()")
        assert (await world.api.wait_until_done(accepted["operation"]["id"]))[
            "state"
        ] == "succeeded"


async def test_concurrency_is_limited_and_fair(world: World) -> None:
    await world.start("gateway")
    running, most = 0, 0

    async def count(_work: StepContext) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        running -= 1

    async with world.worker(Script(only=count), workers=3):
        accepted = await asyncio.gather(*(world.api.create(f"many-{n}") for n in range(12)))
        for each in accepted:
            assert (await world.api.wait_until_done(each["operation"]["id"]))[
                "state"
            ] == "succeeded"
    assert most == 3


async def test_step_progress_is_recorded(world: World) -> None:
    await world.start("gateway")
    gate = Gate()

    async def speak(work: StepContext) -> None:
        await work.report_progress("Half way.")
        await work.report_progress("Half way.")
        await gate(work)

    async with world.worker(Script(only=speak)):
        accepted = await world.api.create("talking")
        await gate.waited_for()
        found = (await world.api.get(f"/operations/{accepted['operation']['id']}")).body
        assert found["steps"][0]["message"] == "Half way."
        gate.open()
        await world.api.wait_until_done(accepted["operation"]["id"])
        await world.wait_until_settled()
    told = await world.value("SELECT count(*) FROM events WHERE data::text LIKE '%Half way.%'")
    assert told == 1


async def test_shutdown_finishes_short_steps_and_releases_rest(world: World) -> None:
    await world.start("gateway")
    short, long_ = Gate(), Gate()

    async def either(work: StepContext) -> None:
        await (short if work.store.name == "short" else long_)(work)

    async with world.worker(Script(only=either), shutdown_grace=0.5, lease=60) as task:
        first, second = await world.api.create("short"), await world.api.create("long")
        await short.waited_for()
        await long_.waited_for()
        task.cancel()
        await asyncio.sleep(0.1)
        short.open()
        await asyncio.gather(task, return_exceptions=True)
    assert (await world.api.get(f"/operations/{first['operation']['id']}")).body[
        "state"
    ] == "succeeded"
    handed = (await world.api.get(f"/operations/{second['operation']['id']}")).body
    assert (handed["state"], handed["attempt"]) == ("queued", 1)
    async with world.worker(Script()):  # dispatched by the stopped worker: no scan is running
        assert (await world.api.wait_until_done(second["operation"]["id"], within=5))[
            "state"
        ] == "succeeded"


async def test_operations_of_one_store_run_in_sequence(world: World) -> None:
    """Random requests on a few stores never run two operations of one store at a time."""
    await world.start("gateway", "reaper")
    script = Script(one=nothing, two=failing(busy, times=10), three=nothing)
    overlaps = 0

    async def watch() -> None:
        nonlocal overlaps
        while True:
            overlaps += await world.value(
                "SELECT count(*) FROM (SELECT 1 FROM operations WHERE state = 'running' GROUP BY "
                "store_id"
                " HAVING count(*) > 1) doubled"
            )
            await asyncio.sleep(0.005)

    watching = asyncio.create_task(watch())
    async with world.worker(script):
        accepted = [await world.api.create(f"store-{n}") for n in range(6)]
        await asyncio.gather(
            *(
                world.api.post(f"/operations/{each['operation']['id']}/cancel")
                for each in accepted[:3]
            ),
            *(world.api.delete(f"/stores/{each['store']['id']}") for each in accepted[2:]),
            *(world.api.post(f"/stores/{each['store']['id']}/retry") for each in accepted),
        )
        await world.wait_until_settled()
    watching.cancel()
    assert overlaps == 0
    assert all(most == 1 for most in script.most.values())
    states = {row["id"]: row["state"] for row in await world.fetch("SELECT id, state FROM stores")}
    assert [states[each["store"]["id"]] for each in accepted[2:]] == ["deleted"] * 4


async def test_short_database_outage_consumes_no_attempt(world: World) -> None:
    await world.start("gateway")
    gate = Gate()
    port, proxy = await world.proxy(world.servers.postgres_port)
    async with world.worker(Script(only=gate), database_port=port, lease=8):
        accepted = await world.api.create("interrupted")
        await gate.waited_for()
        await proxy.cut()
        gate.open()
        await asyncio.sleep(0.5)
        await proxy.mend()
        ended = await world.api.wait_until_done(accepted["operation"]["id"])
    assert (ended["state"], ended["attempt"]) == ("succeeded", 1)
    assert await world.value("SELECT fence FROM operations") == 1


async def test_worker_without_database_stops_at_lease_end(world: World) -> None:
    await world.start("gateway", "reaper")
    stopped = asyncio.Event()

    async def forever(_work: StepContext) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            stopped.set()

    script = Script(only=forever)
    port, proxy = await world.proxy(world.servers.postgres_port)
    async with world.worker(script, database_port=port, lease=1):
        accepted = await world.api.create("cut-off")
        await eventually(lambda: script.count("only"))
        await proxy.cut()
        await asyncio.wait_for(stopped.wait(), timeout=5)
        async with world.worker(Script()):
            assert (await world.api.wait_until_done(accepted["operation"]["id"]))[
                "state"
            ] == "succeeded"
        await proxy.mend()
    assert await world.value("SELECT fence FROM operations") == 2


async def test_lost_command_is_redispatched(world: World) -> None:
    await world.start("gateway")
    accepted = await world.api.create("forgotten")
    await eventually(world.all_sent)
    await world.servers.empty_streams()
    async with world.worker(Script()):
        await world.start("reaper")
        assert (await world.api.wait_until_done(accepted["operation"]["id"]))[
            "state"
        ] == "succeeded"


async def test_duplicate_command_is_ignored(world: World) -> None:
    await world.start("gateway")
    script = Script()
    async with world.worker(script):
        accepted = await world.api.create("doubled")
        await world.api.wait_until_done(accepted["operation"]["id"])
        async with world.database.transaction() as tx:
            operation = await tx.operations.find(
                tenant_id=world.admin.tenant_id, operation_id=accepted["operation"]["id"]
            )
            assert operation is not None
            await tx.outbox.add(*(make_command(operation) for _ in range(20)))
        await world.wait_until_settled()
        await world.api.create_ready_store("next-one")
    assert script.count("only") == 2
    assert await world.value("SELECT max(fence) FROM operations") == 1


async def test_worker_recovers_from_nats_outage(world: World) -> None:
    await world.start("gateway")
    port, proxy = await world.proxy(world.servers.nats_port)
    gate = Gate()
    async with world.worker(Script(only=gate), nats_port=port):
        first = await world.api.create("before")
        await gate.waited_for()
        await proxy.cut()
        gate.open()
        second = await world.api.create("meanwhile")
        assert (await world.api.wait_until_done(first["operation"]["id"]))["state"] == "succeeded"
        await proxy.mend()
        assert (await world.api.wait_until_done(second["operation"]["id"]))["state"] == "succeeded"


async def test_cancel_of_lost_worker_is_finished_by_scan(world: World) -> None:
    await world.start("gateway")
    gate = Gate()
    async with world.worker(Script(only=gate), lease=1, shutdown_grace=30) as task:
        accepted = await world.api.create("orphaned")
        await gate.waited_for()
        await world.execute(
            "UPDATE operations SET lease_owner = 'gone', fence = fence + 1, lease_until = now()"
        )
        answer = await world.api.post(f"/operations/{accepted['operation']['id']}/cancel")
        assert answer.status == 202
        await world.start("reaper")
        ended = await world.api.wait_until_done(accepted["operation"]["id"])
        assert ended["state"] == "cancelled"
        assert [step["state"] for step in ended["steps"]] == ["cancelled"]
        assert not task.done()
    assert (await world.api.store("orphaned"))["failure"]["code"] == "cancelled"
