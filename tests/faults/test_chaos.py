"""Random kill -9 of services, NATS and PostgreSQL during 20 concurrent creations and deletions."""

import asyncio
import json
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.support.http.websocket_follower import Follower
from tests.support.services.databases import list_store_databases
from tests.support.services.platform import Client, Platform, run_platform

KILLS = 25
SHOPKEEPERS = 20
VICTIMS = ("gateway", "provisioner", "reaper", "notifier", "nats", "postgres")


class Shopkeepers:
    """Clients that create and delete stores until `over` is set, and record accepted operations."""

    def __init__(self, client: Client, chance: random.Random) -> None:
        self._client = client
        self._chance = chance
        self.over = asyncio.Event()
        self.accepted: dict[str, dict[str, Any]] = {}
        self.stores: set[str] = set()

    async def work(self, number: int) -> None:
        turn = 0
        while not self.over.is_set():
            turn += 1
            answer = await self._client.create(f"shop-{number}-{turn}")
            self._remember(answer)
            self.stores.add(answer["store"]["id"])
            if self._chance.random() < 0.7:  # the others are deleted during their creation
                await self._client.ended(answer["operation"]["id"], within=120)
            self._remember(await self._client.delete(answer["store"]["id"]))
            await asyncio.sleep(self._chance.random())

    def _remember(self, answer: dict[str, Any]) -> None:
        self.accepted[answer["operation"]["id"]] = answer["operation"]


async def test_random_kills_lose_and_duplicate_nothing(tmp_path: Path) -> None:
    seed = int(os.environ.get("CHAOS_SEED", random.SystemRandom().randrange(10**6)))
    print(f"CHAOS_SEED={seed}")
    with run_platform(
        tmp_path / "state", stores_per_hour=100_000, stores_per_tenant=1000
    ) as platform:
        async with Client(platform) as client, Follower(platform, after=0) as follower:
            keepers = await _kill_while_they_work(platform, client, random.Random(seed))
            began = time.monotonic()
            for operation_id in keepers.accepted:
                await client.ended(operation_id, within=max(1, began + 60 - time.monotonic()))
            await _check_ends(client, keepers)
            await _check_events(client, follower, keepers)
        assert platform.leftovers() == []
        assert await list_store_databases(platform) == []
        assert [
            line
            for line in platform.log_lines()
            if line.get("event") in ("step_crashed", "operation_run_crashed")
        ] == []


async def _kill_while_they_work(
    platform: Platform, client: Client, chance: random.Random
) -> Shopkeepers:
    keepers = Shopkeepers(client, chance)
    tasks = [asyncio.create_task(keepers.work(number)) for number in range(SHOPKEEPERS)]
    killed = 0
    while killed < KILLS:
        await asyncio.sleep(chance.uniform(0.2, 1.5))
        killed += platform.kill(chance.choice(VICTIMS))
    keepers.over.set()
    await asyncio.wait_for(asyncio.gather(*tasks), timeout=60)
    return keepers


async def _check_ends(client: Client, keepers: Shopkeepers) -> None:
    """Check that every accepted operation has ended once and no store is left."""
    for operation_id, accepted in keepers.accepted.items():
        _, operation = await client.insist("GET", f"operations/{operation_id}")
        expected = ("succeeded", "cancelled") if accepted["kind"] == "create" else ("succeeded",)
        assert operation["state"] in expected, json.dumps(operation)
    _, live = await client.insist("GET", "stores?limit=100")
    assert live["data"] == []
    _, listing = await client.insist("GET", "operations?limit=100")
    assert {operation["id"] for operation in listing["data"]} <= set(keepers.accepted), (
        "an operation that no client requested"
    )


async def _check_events(client: Client, follower: Follower, keepers: Shopkeepers) -> None:
    """Check that the websocket received every event once and in order."""
    deadline = time.monotonic() + 20
    while sum(frame["type"] == "store.deleted" for frame in follower.frames) < len(keepers.stores):
        assert time.monotonic() < deadline, (
            f"missing after {follower.seq}: {follower.problems} {follower.connections}"
        )
        await asyncio.sleep(0.1)
    assert follower.problems == []
    counted = Counter((frame["store_id"], frame["type"]) for frame in follower.frames)
    for store_id in keepers.stores:
        assert counted[store_id, "store.requested"] == 1
        assert counted[store_id, "store.deleting"] == 1
        assert counted[store_id, "store.deleted"] == 1
        assert counted[store_id, "store.ready"] <= 1
