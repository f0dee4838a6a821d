"""Shared fixtures; servers start only when a test requests them."""

import gc
import io
import os
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from storefleet.core.settings import ENVIRONMENT_PREFIX
from storefleet.observability import logs
from tests.support.services.servers import Servers, open_servers
from tests.support.services.world import World, open_world


class LogLines(io.StringIO):
    """Captured log output; also printed, so that pytest shows it when a test fails."""

    def write(self, text: str) -> int:
        print(text, end="")
        return super().write(text)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run tests that share an expensive fixture (a file, a platform) in one xdist worker."""
    for item in items:
        shared = item.path.parent if item.path.parent.name == "browser" else item.path
        item.add_marker(pytest.mark.xdist_group(str(shared)))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report a test while no garbage is collected.

    A report parses the failed test's source. Before Python 3.11.8, `ast.parse` raises SystemError
    if garbage collection runs a finalizer or a thread that parses too, for example to format a
    traceback; that would end the xdist worker (https://github.com/python/cpython/issues/106905).
    """
    gc_was_enabled = gc.isenabled()
    gc.disable()
    try:
        return (yield)
    finally:
        if gc_was_enabled:
            gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _plain_environment() -> None:
    """Remove the caller's Storefleet settings from the environment."""
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
    """Return the log output since the start of the test."""
    begin = len(log_lines.getvalue())
    return lambda: log_lines.getvalue()[begin:]


@pytest_asyncio.fixture(scope="session")
async def servers(log_lines: LogLines) -> AsyncIterator[Servers]:
    async with open_servers() as running:
        yield running


@pytest_asyncio.fixture
async def world(servers: Servers, tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(servers, tmp_path) as made:
        yield made


@pytest_asyncio.fixture(scope="module")
async def platform(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """Start all four services on one database for a module whose tests only need own names."""
    async with open_world(servers, tmp_path_factory.mktemp("platform")) as made:
        await made.start()
        yield made
