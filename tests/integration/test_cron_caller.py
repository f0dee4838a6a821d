"""Cron calls: every ready store at its interval, by one reaper, despite failing stores."""

import asyncio
import shutil
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from prometheus_client import REGISTRY

from services.reaper.cron import CronCaller
from storefleet.core.identifiers import STORE_PREFIX, generate_id
from storefleet.core.observed import CronState
from storefleet.database.pool import Database
from storefleet.database.repositories import cron_calls
from storefleet.engines.descriptor import CronSchedule, Engine
from tests.support.cluster.samples import ENGINES, pocket
from tests.support.services.polling import eventually
from tests.support.services.world import World

PATH = "/clock?now=1"


class StoreServer:
    """One server for all stores; the first word of the host name selects its behaviour."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: dict[str, list[float]] = defaultdict(list)
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.statuses: dict[str, int] = {}

    async def answer(self, request: web.Request) -> web.Response:
        self.asked[request.host].append(time.monotonic())
        self.seen.append((request.path_qs, dict(request.headers)))
        if request.host.startswith("hang-"):
            await asyncio.sleep(60)
        await asyncio.sleep(0.01)
        kind = request.host.partition("-")[0]
        status = self.statuses.get(kind, 500 if kind == "broken" else 200)
        headers = {"Location": "/elsewhere"} if 300 <= status < 400 else None
        return web.Response(status=status, headers=headers, text="x" * 100_000)

    def least(self, kind: str) -> int:
        """Return the smallest number of calls among the stores of this behaviour."""
        return min(
            (len(times) for host, times in self.asked.items() if host.startswith(f"{kind}-")),
            default=0,
        )

    def count(self, kind: str) -> int:
        return sum(len(times) for host, times in self.asked.items() if host.startswith(f"{kind}-"))


@asynccontextmanager
async def shops(world: World) -> AsyncIterator[StoreServer]:
    made = StoreServer(world.ports.take())
    app = web.Application()
    app.router.add_get("/{path:.*}", made.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", made.port).start()
    try:
        yield made
    finally:
        await runner.cleanup()


def with_ticker(every: int = 1) -> Engine:
    engine = pocket()
    assert engine.kubernetes
    kubernetes = engine.kubernetes.model_copy(update={"cron": CronSchedule(path=PATH, every=every)})
    return engine.model_copy(update={"kubernetes": kubernetes})


class CountingCronCaller(CronCaller):
    """Counts calls and the largest number of concurrent calls."""

    turns = now = most = 0

    async def _call_store(self, http: aiohttp.ClientSession, turn: cron_calls.CronCall) -> None:
        self.turns += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await super()._call_store(http, turn)
        finally:
            self.now -= 1


@asynccontextmanager
async def run_cron_caller(
    world: World,
    engines: Iterable[Engine],
    *,
    port: int,
    database_port: int | None = None,
    **overrides: Any,
) -> AsyncIterator[tuple[CountingCronCaller, asyncio.Task[None]]]:
    """Run a reaper's cron caller without the reaper."""
    settings = world.settings(
        "reaper",
        runtime="kubernetes",
        store_service=f"http://127.0.0.1:{port}",
        database_port=database_port,
        **overrides,
    )
    database = Database(settings.database_url.get_secret_value(), max_connections=4, timeout_s=1)
    async with database.open_pool():
        ticker = CountingCronCaller(database=database, engines=engines, settings=settings)
        task = asyncio.create_task(ticker.run())
        try:
            yield ticker, task
            assert not task.done(), "the ticker has ended"
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def stores(
    world: World, count: int, kind: str = "good", *, engine: str = "pocket", state: str = "ready"
) -> None:
    await world.execute(
        "INSERT INTO stores (id, tenant_id, name, engine, engine_version, parameters, state, url)"
        " SELECT id, $2, $3 || '-' || number, $4, '1', '{}', $5, 'http://' || $3 || '-' || number "
        "|| '.localhost:81/'"
        " FROM unnest($1::text[]) WITH ORDINALITY AS made (id, number)",
        [generate_id(STORE_PREFIX) for _ in range(count)],
        world.admin.tenant_id,
        kind,
        engine,
        state,
    )


def outcome(name: str) -> float:
    return REGISTRY.get_sample_value("storefleet_cron_calls_total", {"outcome": name}) or 0


async def test_two_reapers_call_each_store_once_per_interval(world: World) -> None:
    await stores(world, 60)
    await stores(world, 3, "making", state="provisioning")
    await stores(world, 3, "other", engine="shop")
    async with shops(world) as server:
        both, began = {"port": server.port, "scan_interval": 0.1}, time.monotonic()
        async with (
            run_cron_caller(world, [with_ticker()], **both) as (one, _),
            run_cron_caller(world, [with_ticker()], **both) as (two, _),
        ):
            await eventually(
                lambda: len(server.asked) == 60 and server.least("good") >= 5, within=60
            )
        assert len(server.asked) == 60, "only those that are ready, and whose engine wants it"
        turns = (
            time.monotonic() - began
        ) / 0.9 + 1  # as many as a store can have had, asked by one reaper at a time
        assert max(len(times) for times in server.asked.values()) <= turns
        assert min(one.turns, two.turns) > 30, "both worked"
        path, headers = server.seen[0]
        assert path == PATH
        assert headers["Host"].endswith(".localhost:81")
        assert headers["X-Forwarded-Proto"] == "http"


async def test_first_calls_are_spread_over_interval(world: World) -> None:
    await stores(world, 300)
    async with world.database.transaction() as tx:
        assert await tx.cron_calls.synchronize({"pocket": 60.0}) == (300, 0)
        assert await tx.cron_calls.synchronize({"pocket": 60.0}) == (0, 0)
    tenths = await world.fetch(
        "SELECT width_bucket(extract(epoch FROM due_at - now()), 0, 60, 10) AS tenth, count(*) "
        "FROM ticks GROUP BY 1"
    )
    assert len(tenths) >= 10
    assert max(row["count"] for row in tenths) < 80


async def test_due_call_is_claimed_once(world: World) -> None:
    await stores(world, 500)
    every = {"pocket": 60.0}
    async with world.database.transaction() as tx:
        await tx.cron_calls.synchronize(every)
    await world.execute("UPDATE ticks SET due_at = now() - interval '1 minute'")

    async def claim() -> list[cron_calls.CronCall]:
        async with world.database.transaction() as tx:
            return await tx.cron_calls.claim_due(every, limit=200)

    found = [turn for turns in await asyncio.gather(*(claim() for _ in range(6))) for turn in turns]
    assert len(found) == len({turn.store_id for turn in found}) == 500
    assert (
        await world.value("SELECT count(*) FROM ticks WHERE due_at < now() + interval '50 seconds'")
        == 0
    )
    assert min(turn.delay_s for turn in found) >= 60


async def test_hanging_or_failing_stores_do_not_delay_others(
    world: World, logged: Callable[[], str]
) -> None:
    """Their interval grows, concurrency stays limited, and the log stays short."""
    await stores(world, 12, "hang")
    await stores(world, 4, "broken")
    await stores(world, 6, "good")
    counted = {"timeout": 24, "refused": 8, "answered": 48}
    before = {name: outcome(name) for name in counted}

    def so_far() -> bool:
        """Return whether the calls are done and counted; the caller counts after the store."""
        asked = server.least("hang") >= 3 and server.least("good") >= 8
        return asked and all(
            outcome(name) - before[name] >= least for name, least in counted.items()
        )

    async with shops(world) as server:
        async with run_cron_caller(
            world,
            [with_ticker()],
            port=server.port,
            scan_interval=0.1,
            cron_concurrency=4,
            cron_timeout=0.5,
        ) as (ticker, _):
            await eventually(so_far, within=60)
        assert ticker.most <= 4
        assert server.count("hang") / 12 < server.count("good") / 6 / 1.5
        assert server.count("broken") / 4 < server.count("good") / 6 / 1.5
    assert logged().count("cron_calls_failed") <= 2, "at most once a minute"
    assert (
        await world.value(
            "SELECT min(failures) FROM ticks JOIN stores ON id = store_id WHERE name LIKE 'hang-%'"
        )
        >= 2
    )


async def cron_events(world: World) -> list[str]:
    """Return the states that events reported, in order; the relay may not have numbered them."""
    rows = await world.fetch(
        "SELECT data FROM outbox WHERE type = 'store.observed' ORDER BY number"
    )
    return [row["data"]["store"]["observed"]["cron"] for row in rows]


@pytest.mark.parametrize("status", [401, 403, 404, 410, 301, 302, 307])
async def test_closed_cron_is_reported_without_error_and_called_calmly(
    world: World, logged: Callable[[], str], status: int
) -> None:
    await stores(world, 1, "shut")
    before = outcome("closed")
    async with shops(world) as server:
        server.statuses["shut"] = status
        async with run_cron_caller(world, [with_ticker()], port=server.port, scan_interval=0.1):
            await eventually(lambda: outcome("closed") == before + 1)
            await eventually(lambda: "cron_state_changed" in logged())
            await asyncio.sleep(1.5)
            assert server.count("shut") == 1, "not at the engine's interval of a second"
            left = await world.value("SELECT extract(epoch FROM due_at - now()) FROM ticks")
            assert 800 < left < 1000
            assert await world.value("SELECT failures FROM ticks") == 0
            (row,) = await world.fetch("SELECT cron, version FROM stores")
            assert row == {"cron": "closed_by_owner", "version": 2}
            server.statuses.clear()
            await world.execute("UPDATE ticks SET due_at = now()")
            await eventually(lambda: server.count("shut") >= 4)
        assert '"level": "warning"' not in logged()
    assert await cron_events(world) == ["closed_by_owner", "calling"]
    assert await world.value("SELECT version FROM stores") == 3, "once for each change"


async def test_cron_is_failing_after_three_failures_in_a_row(world: World) -> None:
    await stores(world, 1, "ill")
    async with shops(world) as server:
        server.statuses["ill"] = 500

        async def fail(times: int) -> None:
            await world.execute("UPDATE ticks SET due_at = now()")
            await eventually(lambda: server.count("ill") >= times)
            await asyncio.sleep(0.2)

        async with run_cron_caller(world, [with_ticker(60)], port=server.port, scan_interval=0.1):
            await eventually(lambda: world.value("SELECT count(*) = 1 FROM ticks"))
            await fail(1)
            await fail(2)
            assert await world.value("SELECT cron FROM stores") == "none"
            await fail(3)
            await fail(4)
            assert await world.value("SELECT cron FROM stores") == "failing"
            server.statuses.clear()
            await fail(5)
    assert await cron_events(world) == ["failing", "calling"]


async def test_late_cron_result_does_not_land_on_changed_store(world: World) -> None:
    await stores(world, 1)
    store_id = await world.value("SELECT id FROM stores")

    async def change() -> bool:
        async with world.database.transaction() as tx:
            return await tx.observations.change_cron(store_id, CronState.CALLING, version=1)

    await world.execute("UPDATE stores SET state = 'upgrading', version = 2")
    assert not await change()
    await world.execute("UPDATE stores SET state = 'ready', version = 3")
    assert not await change()
    assert await world.value("SELECT cron FROM stores") == "none"
    assert await cron_events(world) == []


async def test_recovered_store_returns_to_its_interval(world: World) -> None:
    await stores(world, 1)
    async with world.database.transaction() as tx:
        await tx.cron_calls.synchronize({"pocket": 1.0})
    (row,) = await world.fetch("SELECT store_id FROM ticks")
    async with world.database.autocommit() as db:
        for _ in range(30):
            await db.cron_calls.record_failure(
                row["store_id"], interval_s=60, max_interval=timedelta(minutes=30)
            )
    left = await world.value("SELECT extract(epoch FROM due_at - now()) FROM ticks")
    assert 1700 < left <= 1800
    await world.execute("UPDATE ticks SET due_at = now()")
    async with (
        shops(world) as server,
        run_cron_caller(world, [with_ticker()], port=server.port, scan_interval=0.1),
    ):
        await eventually(lambda: server.count("good") >= 3)
    assert await world.value("SELECT failures FROM ticks") == 0


async def test_new_and_deleted_stores_are_followed(world: World) -> None:
    await stores(world, 5)
    async with (
        shops(world) as server,
        run_cron_caller(world, [with_ticker()], port=server.port, scan_interval=0.1),
    ):
        await eventually(lambda: len(server.asked) == 5)
        await world.execute("UPDATE stores SET state = 'deleting' WHERE name <> 'good-1'")
        await asyncio.sleep(0.5)
        before = {host: len(times) for host, times in server.asked.items()}
        await stores(world, 2, "new")
        await eventually(lambda: len(server.asked) == 7, within=15)
        changed = {host for host, times in server.asked.items() if len(times) > before.get(host, 0)}
        assert changed == {"good-1.localhost:81", "new-1.localhost:81", "new-2.localhost:81"}
        assert await world.value("SELECT count(*) FROM ticks") == 3
        await world.execute("DELETE FROM stores WHERE name LIKE 'new-%'")
        assert await world.value("SELECT count(*) FROM ticks") == 1


async def test_calls_resume_after_database_outage(world: World) -> None:
    port, proxy = await world.proxy(world.servers.postgres_port)
    await stores(world, 5)
    async with (
        shops(world) as server,
        run_cron_caller(
            world, [with_ticker()], port=server.port, database_port=port, scan_interval=0.1
        ),
    ):
        await eventually(lambda: len(server.asked) == 5)
        await proxy.cut()
        await asyncio.sleep(2)
        before = server.count("good")
        await proxy.mend()
        await eventually(lambda: server.count("good") >= before + 10)


async def test_reaper_runs_cron_caller(world: World, tmp_path: Path) -> None:
    """The reaper runs as a service, with an engine that declares `cron`."""
    shutil.copytree(ENGINES / "pocket", tmp_path / "engines" / "pocket")
    descriptor = tmp_path / "engines" / "pocket" / "engine.yaml"
    content = yaml.safe_load(descriptor.read_text())
    content["kubernetes"]["cron"] = {"path": PATH, "every": 1}
    descriptor.write_text(yaml.safe_dump(content))
    await stores(world, 2)
    async with shops(world) as server:
        service = f"http://127.0.0.1:{server.port}"
        paths = (tmp_path / "engines",)
        await world.start("reaper", runtime="kubernetes", engines_path=paths, store_service=service)
        await eventually(lambda: server.count("good") >= 6)
        await world.stop("reaper")
