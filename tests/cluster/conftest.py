"""Tests on a real cluster, with the platform deployed in it; without one they fail."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.deployment import Deployment, deployed


@pytest_asyncio.fixture(scope="session")
async def deployment() -> AsyncIterator[Deployment]:
    async with deployed() as found:
        yield found
