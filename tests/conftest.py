"""Fixtures that every kind of test may ask for; nothing is started before somebody does."""

import io
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from storefleet.core.settings import ENVIRONMENT_PREFIX
from storefleet.observability import logs
from tests.support.services.servers import Servers, running_servers
from tests.support.services.world import World, made_world


class LogLines(io.StringIO):
    """What has been logged; pytest shows it on standard output too, when a test fails."""

    def write(self, text: str) -> int:
        print(text, end="")
        return super().write(text)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers share nothing, so what shares an expensive fixture goes to one of them: a file, or a whole platform."""
    for item in items:
        shared = item.path.parent if item.path.parent.name == "browser" else item.path
        item.add_marker(pytest.mark.xdist_group(str(shared)))


@pytest.fixture(scope="session", autouse=True)
def _plain_environment() -> None:
    """No setting of whoever runs the tests gets in."""
    for name in [name for name in os.environ if name.startswith(ENVIRONMENT_PREFIX)]:
        del os.environ[name]


@pytest.fixture(scope="session")
def log_lines() -> Iterator[LogLines]:
    lines = LogLines()
    logs.configure_logging("tests", "info", lines)
    yield lines
    logs.configure_logging("tests", "info")


@pytest.fixture
def logged(log_lines: LogLines) -> Callable[[], str]:
    """What has been logged since the test began."""
    begin = len(log_lines.getvalue())
    return lambda: log_lines.getvalue()[begin:]


@pytest_asyncio.fixture(scope="session")
async def servers(log_lines: LogLines) -> AsyncIterator[Servers]:
    async with running_servers() as running:
        yield running


@pytest_asyncio.fixture
async def world(servers: Servers, tmp_path: Path) -> AsyncIterator[World]:
    async with made_world(servers, tmp_path) as made:
        yield made


@pytest_asyncio.fixture(scope="module")
async def platform(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """All four services on one database for a whole module, for tests that only need names of their own."""
    async with made_world(servers, tmp_path_factory.mktemp("platform")) as made:
        await made.start()
        yield made
