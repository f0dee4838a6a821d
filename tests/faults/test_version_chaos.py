"""Random kill -9 of services, NATS and PostgreSQL during upgrades and rollbacks."""

import asyncio
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

from tests.support.http.websocket_follower import Follower
from tests.support.services.platform import ROOT, Client, run_platform

KILLS = 12
SHOPKEEPERS = 8
VICTIMS = ("gateway", "provisioner", "reaper", "notifier", "nats", "postgres")
#: Events of an operation, once each, by its kind and final state.
TOLD = {
    ("upgrade", "succeeded"): ("store.upgrading", "store.upgraded"),
    ("upgrade", "failed"): ("store.upgrading", "store.rolling_back", "store.rolled_back"),
    ("rollback", "succeeded"): ("store.rolling_back", "store.rolled_back"),
}


class Shopkeeper:
    """A client that upgrades its store to a working or a failing version and rolls it back."""

    def __init__(self, client: Client, name: str, chance: random.Random) -> None:
        self._client = client
        self._name = name
        self._chance = chance
        self.store_id = ""

    async def work(self, over: asyncio.Event) -> None:
        self.store_id = (await self._client.made(self._name))["id"]
        while not over.is_set():
            version = self._chance.choice(("2.0.0", "3.0.0"))
            ended = await self._change("upgrade", {"version": version})
            assert ended["state"] == ("succeeded" if version == "2.0.0" else "failed"), ended
            if version == "2.0.0":
                ended = await self._change("rollback", {"restore": self._chance.random() < 0.5})
                assert ended["state"] == "succeeded", ended

    async def _change(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Request a change and return the ended operation.

        If the response was lost and the repeated request came too late, it is the newest operation.
        """
        status, answer = await self._client.insist(
            "POST", f"stores/{self.store_id}/{path}", json=body
        )
        if status == 202:
            return await self._client.ended(answer["operation"]["id"], within=120)
        assert answer["code"] in ("version_unchanged", "nothing_to_roll_back"), answer
        return (await self._client.insist("GET", f"operations?store_id={self.store_id}&limit=1"))[
            1
        ]["data"][0]  # type: ignore[no-any-return]


async def test_random_kills_leave_every_store_on_expected_version(tmp_path: Path) -> None:
    seed = int(os.environ.get("CHAOS_SEED", random.SystemRandom().randrange(10**6)))
    print(f"CHAOS_SEED={seed}")
    chance, over = random.Random(seed), asyncio.Event()
    shops = {
        "engines": ROOT / "tests" / "fixtures" / "engines" / "simulated",
        "engine": "shop",
        "runtime": "simulated",
    }
    with run_platform(tmp_path / "state", stores_per_hour=1000, **shops) as platform:
        async with Client(platform) as client, Follower(platform, after=0) as follower:
            keepers = [
                Shopkeeper(client, f"shop-{number}", chance) for number in range(SHOPKEEPERS)
            ]
            tasks = [asyncio.create_task(keeper.work(over)) for keeper in keepers]
            killed = 0
            while killed < KILLS:
                await asyncio.sleep(chance.uniform(0.3, 1.5))
                killed += platform.kill(chance.choice(VICTIMS))
            over.set()
            await asyncio.wait_for(asyncio.gather(*tasks), timeout=120)
            for keeper in keepers:
                await _check_end(client, follower, keeper.store_id)
            assert follower.problems == []
        assert [
            line
            for line in platform.log_lines()
            if line.get("event") in ("step_crashed", "operation_run_crashed")
        ] == []


async def _check_end(client: Client, follower: Follower, store_id: str) -> None:
    """Check that the store is ready on the first version, with complete and ordered events."""
    _, store = await client.insist("GET", f"stores/{store_id}")
    assert (store["state"], store["engine_version"], store["failure"]) == (
        "ready",
        "1.0.0",
        None,
    ), store
    _, page = await client.insist("GET", f"stores/{store_id}/history?limit=100")
    for entry in page["data"][:-1] if not page["has_more"] else page["data"]:
        expected = TOLD[entry["kind"], entry["state"]]
        assert entry["error"] is None or entry["error"]["detail"].endswith(
            "The store is back on 1.0.0."
        )
        told = await _read_event_types(follower, entry["operation_id"], expected[-1])
        assert tuple(told) == expected
        assert max(Counter(told).values()) == 1


async def _read_event_types(follower: Follower, operation_id: str, last: str) -> list[str]:
    """Return the operation's event types without steps, once the last one has arrived."""
    for _ in range(400):
        frames = [frame for frame in follower.frames if frame.get("operation_id") == operation_id]
        told = [frame["type"] for frame in frames if frame["type"] != "store.step"]
        if last in told:
            return told
        await asyncio.sleep(0.05)
    raise AssertionError(
        f"{last} of {operation_id} was not received: {follower.problems} {follower.connections}"
    )
