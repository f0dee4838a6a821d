"""`/stores`: create, list, read, retry and delete stores; their events, logs and credentials.

Upgrades, rollbacks and the version history are in `versions.py`.
"""

from collections.abc import Sequence

from aiohttp import web

from services.gateway.api.authorization import Authorizer
from services.gateway.api.request_models import CreateStoreBody, parse_body
from services.gateway.api.responses import NO_STORE, make_accepted_response, make_page_response
from services.gateway.credentials import reveal_credentials
from services.gateway.request_parameters import (
    get_store_ref,
    parse_choice,
    parse_id,
    parse_number,
    parse_text,
)
from services.gateway.resource_usage import read_resource_usage
from services.gateway.store_lookup import StoreLookup
from storefleet.admission.requests import CreateStore, DeleteStore, RetryOperation
from storefleet.admission.stores import StoreAdmission
from storefleet.core.identifiers import EVENT_PREFIX, STORE_PREFIX
from storefleet.core.lifecycle import StoreState
from storefleet.database.pool import Database
from storefleet.engines.catalogue import EngineCatalogue
from storefleet.http.problems import REQUEST_ID
from storefleet.http.validation import read_json
from storefleet.runtimes.protocol import Runtime

_PATH = "/api/v1/stores"


class StoresApi:
    """Handlers for the stores of the principal's tenant."""

    def __init__(
        self,
        *,
        authorizer: Authorizer,
        database: Database,
        admission: StoreAdmission,
        engines: EngineCatalogue,
        runtime: Runtime,
        lookup: StoreLookup,
    ) -> None:
        self._authorizer = authorizer
        self._database = database
        self._admission = admission
        self._engines = engines
        self._runtime = runtime
        self._lookup = lookup

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes of stores."""
        return (
            web.get(_PATH, self.list_stores),
            web.post(_PATH, self.create_store),
            web.get(f"{_PATH}/{{ref}}", self.get_store),
            web.delete(f"{_PATH}/{{ref}}", self.delete_store),
            web.post(f"{_PATH}/{{ref}}/retry", self.retry_store),
            web.get(f"{_PATH}/{{ref}}/usage", self.get_resource_usage),
            web.post(f"{_PATH}/{{ref}}/credentials", self.reveal_credentials),
            web.get(f"{_PATH}/{{ref}}/events", self.list_events),
            web.get(f"{_PATH}/{{ref}}/logs", self.get_logs),
        )

    async def list_stores(self, request: web.Request) -> web.Response:
        """Return a page of the tenant's stores, filtered by state and by a part of the name."""
        principal = await self._authorizer.require_scope(request, "stores:read")
        async with self._database.autocommit() as db:
            page, has_more = await db.stores.list_page(
                tenant_id=principal.tenant_id,
                state=parse_choice(request, "state", StoreState),
                query=parse_text(request, "q"),
                limit=parse_number(request, "limit", 25, 1, 100),
                starting_after=parse_id(request, "starting_after", STORE_PREFIX),
            )
        return make_page_response([store.to_json() for store in page], has_more=has_more)

    async def create_store(self, request: web.Request) -> web.Response:
        """Accept the creation of a store; a repeated `Idempotency-Key` returns the first answer."""
        principal = await self._authorizer.require_scope(request, "stores:write")
        body = parse_body(CreateStoreBody, await read_json(request))
        accepted = await self._admission.create_store(
            principal,
            CreateStore(
                name=body.name,
                engine=body.engine,
                version=body.version,
                plan=body.plan,
                parameters=body.parameters,
            ),
            request_id=request[REQUEST_ID],
            idempotency_key=request.headers.get("Idempotency-Key"),
        )
        return make_accepted_response(accepted)

    async def get_store(self, request: web.Request) -> web.Response:
        """Return a store."""
        principal = await self._authorizer.require_scope(request, "stores:read")
        store = await self._lookup.get_store(request, principal)
        return web.json_response(store.to_json())

    async def delete_store(self, request: web.Request) -> web.Response:
        """Accept the deletion of a store."""
        principal = await self._authorizer.require_scope(request, "stores:write")
        accepted = await self._admission.delete_store(
            principal,
            DeleteStore(store_ref=get_store_ref(request)),
            request_id=request[REQUEST_ID],
        )
        return make_accepted_response(accepted)

    async def retry_store(self, request: web.Request) -> web.Response:
        """Accept a retry of the failed operation of a store."""
        principal = await self._authorizer.require_scope(request, "stores:write")
        accepted = await self._admission.retry_operation(
            principal,
            RetryOperation(store_ref=get_store_ref(request)),
            request_id=request[REQUEST_ID],
        )
        return make_accepted_response(accepted)

    async def get_resource_usage(self, request: web.Request) -> web.Response:
        """Return the plan of a store and the usage of its quota."""
        principal = await self._authorizer.require_scope(request, "stores:read")
        store = await self._lookup.get_store(request, principal)
        return web.json_response(await read_resource_usage(self._engines, self._runtime, store))

    async def reveal_credentials(self, request: web.Request) -> web.Response:
        """Return the admin credentials of a store; each call is recorded in the audit log."""
        principal = await self._authorizer.require_scope(request, "credentials:read")
        store = await self._lookup.get_store(request, principal)
        credentials = await reveal_credentials(
            self._database, self._runtime, principal, store, request[REQUEST_ID]
        )
        return web.json_response(credentials, headers=NO_STORE)

    async def list_events(self, request: web.Request) -> web.Response:
        """Return a page of the events of a store, newest first."""
        principal = await self._authorizer.require_scope(request, "stores:read")
        store = await self._lookup.get_store(request, principal)
        async with self._database.autocommit() as db:
            page, has_more = await db.events.list_of_store(
                tenant_id=principal.tenant_id,
                store_id=store.id,
                limit=parse_number(request, "limit", 25, 1, 100),
                starting_after=parse_id(request, "starting_after", EVENT_PREFIX),
            )
        return make_page_response([event.to_json() for event in page], has_more=has_more)

    async def get_logs(self, request: web.Request) -> web.Response:
        """Return the log tail of a store, oldest line first."""
        principal = await self._authorizer.require_scope(request, "stores:read")
        store = await self._lookup.get_store(request, principal)
        lines = await self._runtime.read_logs(
            store, tail=parse_number(request, "tail", 100, 1, 1000)
        )
        return web.json_response({"data": lines})
