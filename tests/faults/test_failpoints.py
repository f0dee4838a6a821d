"""Kill -9 before and after every effect of creation, deletion, cancellation and failure.

The end must be the same as without the kill. The failpoints are those that runs visit, which must
be all that the source contains.
"""

import ast
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.support.services.databases import list_store_databases
from tests.support.services.platform import ROOT, Client, Platform, run_platform

SCENARIOS = ("create", "delete", "cancel", "fail")
#: Code with effects of the Kubernetes runtime; tests on a cluster visit them.
ELSEWHERE = ROOT / "libs" / "storefleet" / "runtimes" / "kubernetes"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("failpoints")


@pytest.fixture(scope="module")
def platform(folder: Path) -> Iterator[Platform]:
    settings = {
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
    """Runs one scenario to its end; `arm` is called right before the part to be killed."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._count = 0

    async def run(self, scenario: str, arm: Callable[[], object]) -> str:
        """Run a scenario and return its store's id; the store exists unless `delete` ran."""
        self._count += 1
        store_id: str = await getattr(self, f"_{scenario}")(f"{scenario}-{self._count}", arm)
        return store_id

    async def _create(self, name: str, arm: Callable[[], object]) -> str:
        arm()
        store = await self._client.made(name)
        assert store["state"] == "ready"
        _, listing = await self._client.insist("GET", f"stores?q={name}")
        assert [each["id"] for each in listing["data"]] == [store["id"]]
        return str(store["id"])

    async def _delete(self, name: str, arm: Callable[[], object]) -> str:
        store = await self._client.made(name)
        arm()
        await self.gone(store["id"])
        return str(store["id"])

    async def _cancel(self, name: str, arm: Callable[[], object]) -> str:
        answer = await self._client.create(name, parameters={"delay": 3})
        await self._running(answer["operation"]["id"])
        arm()
        await self._client.insist("POST", f"operations/{answer['operation']['id']}/cancel")
        operation = await self._client.ended(answer["operation"]["id"])
        assert operation["state"] == "cancelled", operation
        return str(answer["store"]["id"])

    async def _fail(self, name: str, arm: Callable[[], object]) -> str:
        arm()
        answer = await self._client.create(name, parameters={"crash": True})
        operation = await self._client.ended(answer["operation"]["id"])
        assert operation["state"] == "failed", operation
        assert operation["error"]["code"] == "store_crashes", operation
        return str(answer["store"]["id"])

    async def _running(self, operation_id: str) -> None:
        while True:
            _, operation = await self._client.insist("GET", f"operations/{operation_id}")
            if any(
                step["name"] == "start" and step["state"] == "running"
                for step in operation["steps"]
            ):
                return

    async def gone(self, store_id: str) -> None:
        answer = await self._client.delete(store_id)
        operation = await self._client.ended(answer["operation"]["id"])
        assert operation["state"] == "succeeded", operation
        assert (await self._client.insist("GET", f"stores/{store_id}"))[1]["state"] == "deleted"


@pytest.fixture(scope="module")
async def story(platform: Platform) -> AsyncIterator[Story]:
    async with Client(platform) as client:
        yield Story(client)


async def test_process_killed_at_every_effect_reaches_same_end(
    platform: Platform, story: Story, folder: Path
) -> None:
    points = {
        scenario: await _list_visited(scenario, story, folder / "visited") for scenario in SCENARIOS
    }
    every = {point for visited in points.values() for point in visited}
    assert every == _list_failpoints(every)
    for scenario in SCENARIOS:
        for point in sorted(points[scenario] - _list_covered(scenario, points)):
            store_id = await story.run(
                scenario, lambda point=point: (folder / "armed").write_text(point)
            )
            assert not (folder / "armed").exists(), f"{point} was not visited again in {scenario}"
            await story.gone(store_id)
    assert platform.leftovers() == []
    assert await list_store_databases(platform) == []
    assert not [line for line in platform.log_lines() if line.get("level") in ("error", "critical")]


def _list_covered(scenario: str, points: dict[str, set[str]]) -> set[str]:
    """Return failpoints that the creation already covers, for scenarios that start like it."""
    return points["create"] if scenario in ("cancel", "fail") else set()


async def _list_visited(scenario: str, story: Story, log: Path) -> set[str]:
    """Return the failpoints that the armed part of a scenario visits."""
    store_id = await story.run(scenario, lambda: log.write_text(""))
    visited = set(log.read_text().split())
    await story.gone(store_id)
    return visited


def _list_failpoints(visited: set[str]) -> set[str]:
    """Return every failpoint in the source; names with a step are completed from visited ones."""
    names: set[str] = set()
    for folder in ("libs", "services"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.is_relative_to(ELSEWHERE):
                continue
            names |= set(_find_effects(ast.parse(path.read_text()), visited))
    return {f"{name}:{side}" for name in names for side in ("before", "after")}


def _find_effects(tree: ast.AST, visited: set[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "effect":
            argument = node.args[0]
            if isinstance(argument, ast.Constant):
                yield str(argument.value)
            elif isinstance(argument, ast.JoinedStr):
                prefix = str(getattr(argument.values[0], "value", ""))
                yield from {
                    point.partition(":")[0] for point in visited if point.startswith(prefix)
                }
