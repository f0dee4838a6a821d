"""Find the store that a request names, for the API and the dashboard."""

from datetime import timedelta

from aiohttp import web

from services.gateway.request_parameters import get_store_ref
from storefleet.core.errors import NotFound
from storefleet.core.models import Principal, Store
from storefleet.database.pool import Database


class StoreLookup:
    """Finds stores of the tenant by id or name; deleted ones until the retention ends."""

    def __init__(self, *, database: Database, retention: timedelta) -> None:
        self._database = database
        self._retention = retention

    async def get_store(self, request: web.Request, principal: Principal) -> Store:
        """Return the store whose id or name is in the path; raise NotFound if there is none."""
        async with self._database.autocommit() as db:
            store = await db.stores.find(
                tenant_id=principal.tenant_id,
                store_ref=get_store_ref(request),
                retention=self._retention,
            )
        if store is None:
            raise NotFound(
                "Store not found. A deleted store is found by its id only, for"
                f" {self._retention.days} days after its deletion."
            )
        return store
