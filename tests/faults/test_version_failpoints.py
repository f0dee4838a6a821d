"""Kill -9 before and after every effect of upgrades, automatic rollbacks and rollbacks.

The end must be the same as without the kill.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.support.services.platform import ROOT, Client, Platform, run_platform
from tests.support.services.polling import eventually

#: Failpoints of each scenario: claim, recorded steps, and the switch to automatic rollback.
SCENARIOS = {
    "upgrade": {"claim", "record_baseline", "record_dump", "record_release"},
    "turn": {
        "claim",
        "record_baseline",
        "record_dump",
        "fail_operation",
        "record_rollback-release",
    },
    "rollback": {"claim", "record_baseline", "record_restore", "record_release"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("versions")


@pytest.fixture(scope="module")
def platform(folder: Path) -> Iterator[Platform]:
    settings = {
        "engines": ROOT / "tests" / "fixtures" / "engines" / "simulated",
        "engine": "shop",
        "runtime": "simulated",
        "failpoint_file": folder / "armed",
        "failpoint_log": folder / "visited",
        "lease": 1.2,
        "scan_interval": 0.2,
        "redispatch_after": 1,
        "restart_backoff": 0.2,
        "stores_per_hour": 10_000,
    }
    with run_platform(folder / "state", **settings) as platform:
        yield platform


class Story:
    """Runs one scenario on one store; `arm` is called right before the part to be killed."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def run(self, scenario: str, arm: Callable[[], object], name: str) -> None:
        """Run a scenario, check the store's final version, then delete the store."""
        await self._client.made(name)
        if scenario == "rollback":
            await self._changed(name, "upgrade", {"version": "2.0.0"}, "succeeded")
        arm()
        body, state, version = {
            "upgrade": ({"version": "2.0.0"}, "succeeded", "2.0.0"),
            "turn": ({"version": "3.0.0"}, "failed", "1.0.0"),
            "rollback": ({"restore": True}, "succeeded", "1.0.0"),
        }[scenario]
        await self._changed(name, "rollback" if scenario == "rollback" else "upgrade", body, state)
        _, store = await self._client.insist("GET", f"stores/{name}")
        assert (store["state"], store["engine_version"], store["failure"]) == (
            "ready",
            version,
            None,
        ), store
        await self._check_events(store["id"], scenario)
        answer = await self._client.delete(name)
        assert (await self._client.ended(answer["operation"]["id"]))["state"] == "succeeded"

    async def _changed(self, name: str, path: str, body: dict[str, object], state: str) -> None:
        status, answer = await self._client.insist("POST", f"stores/{name}/{path}", json=body)
        assert status == 202, answer
        operation = await self._client.ended(answer["operation"]["id"])
        assert operation["state"] == state, operation
        assert all(step["state"] != "running" for step in operation["steps"]), operation

    async def _check_events(self, store_id: str, scenario: str) -> None:
        """Check that each transition has one event; events arrive a moment after the transition."""
        expected = [
            *("store.requested", "store.provisioning", "store.ready"),
            *{
                "upgrade": ("store.upgrading", "store.upgraded"),
                "turn": ("store.upgrading", "store.rolling_back", "store.rolled_back"),
                "rollback": (
                    "store.upgrading",
                    "store.upgraded",
                    "store.rolling_back",
                    "store.rolled_back",
                ),
            }[scenario],
        ]

        async def told() -> bool:
            _, page = await self._client.insist("GET", f"stores/{store_id}/events?limit=100")
            seen = [
                event["type"] for event in reversed(page["data"]) if event["type"] != "store.step"
            ]
            assert seen == expected
            return True

        await eventually(told)


@pytest.fixture(scope="module")
async def story(platform: Platform) -> AsyncIterator[Story]:
    async with Client(platform) as client:
        yield Story(client)


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_process_killed_at_every_effect_of_version_change_reaches_same_end(
    platform: Platform, story: Story, folder: Path, scenario: str
) -> None:
    visited, armed = folder / "visited", folder / "armed"
    await story.run(scenario, lambda: visited.write_text(""), f"{scenario}-first")
    points = set(visited.read_text().split())
    own = {f"{name}:{side}" for name in SCENARIOS[scenario] for side in ("before", "after")}
    assert own <= points
    for number, point in enumerate(sorted(own)):
        await story.run(
            scenario, lambda point=point: armed.write_text(point), f"{scenario}-{number}"
        )  # type: ignore[misc]
        assert not armed.exists(), f"{point} was not visited again"
    assert not [line for line in platform.log_lines() if line.get("level") in ("error", "critical")]
