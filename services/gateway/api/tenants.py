"""`/tenants`: create tenants; for operators only."""

from collections.abc import Sequence

from aiohttp import web

from services.gateway.api.authorization import Authorizer
from services.gateway.api.request_models import CreateTenantBody, parse_body
from services.gateway.api.responses import NO_STORE
from storefleet.auth.tenants import create_tenant
from storefleet.database.pool import Database
from storefleet.http.validation import read_json


class TenantsApi:
    """Creates tenants, each with its first user and token."""

    def __init__(self, *, authorizer: Authorizer, database: Database) -> None:
        self._authorizer = authorizer
        self._database = database

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the route of tenants."""
        return (web.post("/api/v1/tenants", self.create_tenant),)

    async def create_tenant(self, request: web.Request) -> web.Response:
        """Create a tenant; password and token are returned here only."""
        await self._authorizer.require_scope(request, "operator")
        body = parse_body(CreateTenantBody, await read_json(request))
        tenant = await create_tenant(self._database, name=body.name, email=body.email)
        content = {
            "tenant": tenant.tenant_id,
            "email": tenant.email,
            "password": tenant.password,
            "token": tenant.token,
        }
        return web.json_response(content, status=201, headers=NO_STORE)
