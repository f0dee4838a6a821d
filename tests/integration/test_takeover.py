"""Workers as processes: killed, frozen or stopped; the next one takes over with a new fence."""

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

from tests.support.services.polling import eventually
from tests.support.services.processes import Process
from tests.support.services.scripted_worker import CARELESS, FOLDER
from tests.support.services.world import World


async def scripted(world: World, folder: Path, **overrides: Any) -> Process:
    extra = {FOLDER: str(folder), **overrides.pop("extra", {})}
    process = await world.process(
        "tests.support.services.scripted_worker", service="provisioner", extra=extra, **overrides
    )
    await eventually((folder / f"started-{process.pid}").exists, within=20)
    return process


async def at_work(
    world: World, folder: Path, name: str, **overrides: Any
) -> tuple[Process, dict[str, Any]]:
    """Return a worker that runs the second step of this store's create operation."""
    process = await scripted(world, folder, **overrides)
    accepted = await world.api.create(name)
    await eventually((folder / f"second-{process.pid}").exists)
    return process, accepted


async def everything(world: World) -> list[dict[str, Any]]:
    return await world.fetch(
        "SELECT (SELECT json_agg(s ORDER BY id) FROM stores s)::text AS stores,"
        " (SELECT json_agg(o ORDER BY id) FROM operations o)::text AS operations,"
        " (SELECT json_agg(s ORDER BY operation_id, position) FROM steps s)::text AS steps,"
        " (SELECT count(*) FROM outbox) AS messages, (SELECT last_seq FROM relay) AS events"
    )


async def test_takeover_after_killed_worker_continues_operation(
    world: World, tmp_path: Path
) -> None:
    await world.start("gateway", "reaper")
    first, accepted = await at_work(world, tmp_path, "inherited")
    second = await scripted(world, tmp_path)
    await first.kill()
    killed_at = time.monotonic()
    await eventually((tmp_path / f"second-{second.pid}").exists, within=8)
    assert time.monotonic() - killed_at < 5  # the lease is 1.5 s
    assert not (tmp_path / f"first-{second.pid}").exists()  # finished steps are not repeated
    (tmp_path / "go").touch()
    ended = await world.api.wait_until_done(accepted["operation"]["id"])
    assert (ended["state"], ended["attempt"]) == ("succeeded", 1)
    assert [step["message"] for step in ended["steps"]] == [f"by {first.pid}", f"by {second.pid}"]
    assert await world.value("SELECT fence FROM operations") == 2


async def test_frozen_worker_with_old_fence_changes_nothing(world: World, tmp_path: Path) -> None:
    await world.start("gateway", "reaper")
    frozen, accepted = await at_work(world, tmp_path, "fenced", workers=1)
    careless, also = await at_work(world, tmp_path, "fenced-too", extra={CARELESS: "1"}, workers=1)
    assert careless.pid != frozen.pid
    frozen.signal(signal.SIGSTOP)
    careless.signal(signal.SIGSTOP)
    heir = await scripted(world, tmp_path)
    await eventually((tmp_path / f"second-{heir.pid}").exists, within=8)
    (tmp_path / f"go-{heir.pid}").touch()
    for each in (accepted, also):
        assert (await world.api.wait_until_done(each["operation"]["id"]))["state"] == "succeeded"
    await world.wait_until_settled()
    before = await everything(world)

    (tmp_path / "go").touch()
    for deposed in (frozen, careless):
        deposed.signal(signal.SIGCONT)
        await eventually(lambda deposed=deposed: "lease_lost" in deposed.output)  # type: ignore[misc]
    assert not (tmp_path / f"effect-{frozen.pid}").exists()
    assert await everything(world) == before
    assert [
        step["message"] for step in (await world.api.get("/operations")).body["data"][0]["steps"]
    ][1] == (f"by {heir.pid}")


async def test_terminated_worker_releases_lease_at_once(world: World, tmp_path: Path) -> None:
    await world.start(
        "gateway"
    )  # without a scan: the worker that releases the lease dispatches the command
    first, accepted = await at_work(world, tmp_path, "handed-back", lease=60, shutdown_grace=0.3)
    first.signal(signal.SIGTERM)
    assert await first.ended() == 0
    assert (await world.api.get(f"/operations/{accepted['operation']['id']}")).body[
        "state"
    ] == "queued"
    second = await scripted(world, tmp_path)
    await eventually((tmp_path / f"second-{second.pid}").exists)
    (tmp_path / "go").touch()
    assert (await world.api.wait_until_done(accepted["operation"]["id"]))["state"] == "succeeded"


async def test_service_processes_stop_on_sigterm_and_recover_from_kills(world: World) -> None:
    """Provisioner and gateway are killed during a create, and the store becomes ready."""
    gateway, provisioner, reaper, _notifier = await asyncio.gather(
        *(world.service(service) for service in ("gateway", "provisioner", "reaper", "notifier"))
    )
    await world.api.create_ready_store("before")
    async with world.listener(after=0) as heard:
        await heard.wait_for_frame("store.ready")
        await provisioner.kill()
        accepted = await world.api.create("meanwhile")
        await gateway.kill()
        await asyncio.gather(world.service("gateway"), world.service("provisioner"))
        assert (await world.api.wait_until_done(accepted["operation"]["id"]))[
            "state"
        ] == "succeeded"
        await heard.wait_for_frame("store.ready", store_id=accepted["store"]["id"])
        assert heard.seqs == list(range(1, len(heard.frames) + 1))
    reaper.signal(signal.SIGTERM)
    assert await reaper.ended(within=5) == 0
    assert "Traceback" not in gateway.output + provisioner.output + reaper.output
