"""Run storefront checks against stores that only answer HTTP, without a whole reaper."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from services.reaper.storefronts import StorefrontChecker
from storefleet.core.identifiers import STORE_PREFIX, generate_id
from storefleet.database.pool import Database
from storefleet.database.repositories.observations import ClaimedCheck
from storefleet.runtimes.storefront_check import StorefrontCheck
from tests.support.cluster.samples import pocket
from tests.support.services.world import World


class CountingChecker(StorefrontChecker):
    """Counts checks and the largest number of concurrent ones."""

    checks = now = most = 0

    async def _check_store(self, check: ClaimedCheck) -> None:
        self.checks += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await super()._check_store(check)
        finally:
            self.now -= 1


@asynccontextmanager
async def run_checker(
    world: World, *, port: int, confirmation_pause_s: float = 0.3, **overrides: Any
) -> AsyncIterator[CountingChecker]:
    """Run a reaper's storefront checker without the reaper."""
    quick = {
        "runtime": "kubernetes",
        "store_service": f"http://127.0.0.1:{port}",
        "storefront_check_interval": 0.5,
        "scan_interval": 0.05,
    }
    settings = world.settings("reaper", **{**quick, **overrides})
    database = Database(settings.database_url.get_secret_value(), max_connections=4)
    async with database.open_pool():
        checker = CountingChecker(
            database=database,
            engines=[pocket()],
            check=StorefrontCheck(),
            settings=settings,
            confirmation_pause_s=confirmation_pause_s,
        )
        task = asyncio.create_task(checker.run())
        try:
            yield checker
            assert settings.runtime == "simulated" or not task.done(), "the checker has ended"
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def add_stores(world: World, count: int = 1, word: str = "acme") -> list[str]:
    """Add stores and make them ready, as the last step of a creation does."""
    ids = [generate_id(STORE_PREFIX) for _ in range(count)]
    await world.execute(
        "INSERT INTO stores (id, tenant_id, name, engine, engine_version, parameters, state, url)"
        " SELECT id, $2, $3 || '-' || number, 'pocket', '1', '{}', 'provisioning',"
        " 'http://' || $3 || '-' || number || '.localhost:81/'"
        " FROM unnest($1::text[]) WITH ORDINALITY AS made (id, number)",
        ids,
        world.admin.tenant_id,
        word,
    )
    await set_state(world, "ready", ids)
    return ids


async def set_state(world: World, state: str, ids: list[str]) -> None:
    await world.execute(
        "UPDATE stores SET state = $1, version = version + 1 WHERE id = ANY ($2)", state, ids
    )
