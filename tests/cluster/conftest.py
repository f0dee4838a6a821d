"""Fixtures for tests on a real cluster with a deployed platform; without one, the tests fail."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.cluster.deployment import Deployment, open_deployment


@pytest_asyncio.fixture(scope="session")
async def deployment() -> AsyncIterator[Deployment]:
    async with open_deployment() as found:
        yield found
