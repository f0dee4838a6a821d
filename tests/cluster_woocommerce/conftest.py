"""Fixtures for tests with WooCommerce images: `WOOCOMMERCE_DIRS=… make test-woocommerce`."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.cluster_woocommerce.store import Store, create_store
from tests.support.cluster.deployment import Deployment, open_deployment


@pytest_asyncio.fixture(scope="session")
async def deployment() -> AsyncIterator[Deployment]:
    async with open_deployment() as found:
        engines = {engine["name"] for engine in (await found.api.get("/engines")).body["data"]}
        assert "woocommerce" in engines, (
            "The deployed platform does not offer WooCommerce. Its images need the plugin:"
            " run `WOOCOMMERCE_DIRS=/path/to/woocommerce make test-woocommerce`."
        )
        yield found


@pytest_asyncio.fixture(scope="module")
async def store(deployment: Deployment) -> AsyncIterator[Store]:
    """One store per test module."""
    async with create_store(deployment) as found:
        yield found
