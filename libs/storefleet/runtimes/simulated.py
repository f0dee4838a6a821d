"""Stores that exist on paper only: one step that ends at once. For measuring the way of a store, and for previews."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from storefleet.models import Credentials, Store
from storefleet.runtimes.base import Address, Outcome, RuntimeStep, Work
from storefleet.settings import Settings


class SimulatedRuntime:
    """Says yes."""

    def __init__(self, *, settings: Settings) -> None:
        self._domain = settings.store_domain

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["SimulatedRuntime"]:
        yield self

    async def check(self) -> None:
        return None

    def create_steps(self, store: Store) -> Sequence[RuntimeStep]:
        del store
        return (RuntimeStep("simulate", "Pretend to make the store", self._pretend),)

    def delete_steps(self, store: Store) -> Sequence[RuntimeStep]:
        del store
        return (RuntimeStep("simulate", "Pretend to remove the store", self._forget),)

    async def credentials(self, store: Store) -> Credentials | None:
        del store
        return None

    async def logs(self, store: Store, *, tail: int) -> list[str]:
        return [f"{store.name} is simulated: it runs nowhere."][:tail]

    async def _pretend(self, work: Work) -> Outcome:
        url = f"http://{work.store.name}.{self._domain}/"
        return Outcome("Simulated", Address(url, f"{url}admin/"))

    async def _forget(self, work: Work) -> Outcome:
        del work
        return Outcome("Simulated")
