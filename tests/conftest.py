"""Shared fixtures; servers start only when a test requests them."""

import gc
import io
import os
from collections.abc import AsyncIterator, Callable, Generator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings

from storefleet.core.settings import ENVIRONMENT_PREFIX
from storefleet.observability import logs
from tests.support.services.servers import Servers, open_servers
from tests.support.services.world import World, open_world

# A busy machine may pause an example for longer than any deadline, and make its input slowly.
settings.register_profile(
    "tests", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")

# Log lines are kept here and not printed: a test that reads standard output gets only what the
# tested command wrote. A failed test's report shows its lines.
_LOG_LINES = io.StringIO()
_LOG_BEGIN = pytest.StashKey[int]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run tests that share an expensive fixture (a file, a platform) in one xdist worker."""
    for item in items:
        shared = item.path.parent if item.path.parent.name == "browser" else item.path
        item.add_marker(pytest.mark.xdist_group(str(shared)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[_LOG_BEGIN] = len(_LOG_LINES.getvalue())


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report a test with its log lines, and while no garbage is collected.

    A report parses the failed test's source. Before Python 3.11.8, `ast.parse` raises SystemError
    if garbage collection runs a finalizer or a thread that parses too, for example to format a
    traceback; that would end the xdist worker (https://github.com/python/cpython/issues/106905).
    """
    gc_was_enabled = gc.isenabled()
    gc.disable()
    try:
        report = yield
        lines = _LOG_LINES.getvalue()[item.stash.get(_LOG_BEGIN, 0) :]
        if report.failed and lines:
            report.sections.append((f"Log lines until {report.when}", lines))
        return report
    finally:
        if gc_was_enabled:
            gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _plain_environment() -> None:
    """Remove the caller's Storefleet settings from the environment."""
    for name in [name for name in os.environ if name.startswith(ENVIRONMENT_PREFIX)]:
        del os.environ[name]


@pytest.fixture(scope="session")
def log_lines() -> io.StringIO:
    logs.configure_logging("tests", "info", _LOG_LINES)
    return _LOG_LINES


@pytest.fixture
def logged(log_lines: io.StringIO) -> Callable[[], str]:
    """Return the log output since the start of the test."""
    begin = len(log_lines.getvalue())
    return lambda: log_lines.getvalue()[begin:]


@pytest_asyncio.fixture(scope="session")
async def servers(log_lines: io.StringIO) -> AsyncIterator[Servers]:
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
