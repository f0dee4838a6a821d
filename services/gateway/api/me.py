"""`/me`: the principal of the request."""

from collections.abc import Sequence

from aiohttp import web

from services.gateway.api.authorization import Authorizer


class MeApi:
    """Shows clients who they are and which scopes they have."""

    def __init__(self, *, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the route of the principal."""
        return (web.get("/api/v1/me", self.get_me),)

    async def get_me(self, request: web.Request) -> web.Response:
        """Return tenant, e-mail address and scopes of the principal."""
        principal = await self._authorizer.authenticate(request)
        return web.json_response(
            {
                "tenant": principal.tenant_id,
                "tenant_name": principal.tenant_name,
                "email": principal.email,
                "operator": principal.has_scope("operator"),
                "scopes": sorted(principal.scopes),
            }
        )
