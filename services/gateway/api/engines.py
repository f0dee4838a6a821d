"""`/engines`: the engines, versions and plans that a new store can have."""

from collections.abc import Sequence

from aiohttp import web

from services.gateway.api.authorization import Authorizer
from storefleet.engines.catalogue import EngineCatalogue


class EnginesApi:
    """Lists the catalogue."""

    def __init__(
        self, *, authorizer: Authorizer, engines: EngineCatalogue, default_engine: str
    ) -> None:
        self._authorizer = authorizer
        self._engines = engines
        self._default_engine = default_engine

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the route of the engines."""
        return (web.get("/api/v1/engines", self.list_engines),)

    async def list_engines(self, request: web.Request) -> web.Response:
        """Return all engines; one of them is marked as the default."""
        await self._authorizer.require_scope(request, "stores:read")
        data = [
            {**engine.to_json(), "default": engine.name == self._default_engine}
            for engine in self._engines
        ]
        return web.json_response({"data": data})
