"""The HTTP API, `/api/v1`: one tenant's stores; long work answers 202 with an operation (AIP-151)."""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from aiohttp import web

from services.gateway.api import openapi
from services.gateway.api.administration import Administration
from services.gateway.api.requests import (
    CreateStoreBody,
    RollBackStoreBody,
    UpgradeStoreBody,
    get_path_id,
    get_store_ref,
    parse_body,
    parse_id,
    parse_number,
    parse_text,
)
from services.gateway.api.responses import make_accepted_response
from storefleet.admission.stores import StoreAdmission
from storefleet.admission.versions import VersionAdmission
from storefleet.auth.accounts import Accounts
from storefleet.auth.authentication import Authenticator
from storefleet.core.errors import Conflict, Forbidden, NotFound
from storefleet.core.identifiers import EVENT_PREFIX, OPERATION_PREFIX, STORE_PREFIX
from storefleet.core.models import STORE_STATES, Principal, Scope, Store
from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.engines.catalogue import Engines
from storefleet.http.app import REQUEST_ID, read_json
from storefleet.runtimes.protocol import Runtime

_MAX_WAIT_S = 60
_OPERATION_STATES = ("queued", "running", "succeeded", "failed", "cancelled")


class Api:
    """Handlers; each one finds its caller, asks for a scope, and stays inside the caller's tenant."""

    def __init__(
        self,
        *,
        database: Database,
        admission: StoreAdmission,
        version_admission: VersionAdmission,
        accounts: Accounts,
        authenticator: Authenticator,
        engines: Engines,
        runtime: Runtime,
        settings: Settings,
    ) -> None:
        self._database = database
        self._admission = admission
        self._version_admission = version_admission
        self._authenticator = authenticator
        self._engines = engines
        self._runtime = runtime
        self._default_engine = engines.default(settings.default_engine)
        self._retention = timedelta(days=settings.keep_days)
        self._administration = Administration(
            database=database, accounts=accounts, admission=admission, authorize=self._authorize
        )

    def routes(self) -> Sequence[web.RouteDef]:
        v1 = "/api/v1"
        return (
            web.get(f"{v1}/openapi.json", openapi.get_openapi_document),
            web.get(f"{v1}/me", self.get_me),
            web.get(f"{v1}/engines", self.list_engines),
            web.get(f"{v1}/stores", self.list_stores),
            web.post(f"{v1}/stores", self.create_store),
            web.get(f"{v1}/stores/{{ref}}", self.get_store),
            web.delete(f"{v1}/stores/{{ref}}", self.delete_store),
            web.post(f"{v1}/stores/{{ref}}/retry", self.retry_store),
            web.post(f"{v1}/stores/{{ref}}/upgrade", self.upgrade_store),
            web.post(f"{v1}/stores/{{ref}}/rollback", self.roll_back_store),
            web.get(f"{v1}/stores/{{ref}}/history", self.list_version_history),
            web.get(f"{v1}/stores/{{ref}}/usage", self.get_resource_usage),
            web.post(f"{v1}/stores/{{ref}}/credentials", self.reveal_credentials),
            web.get(f"{v1}/stores/{{ref}}/events", self.list_store_events),
            web.get(f"{v1}/stores/{{ref}}/logs", self.get_logs),
            web.get(f"{v1}/operations", self.list_operations),
            web.get(f"{v1}/operations/{{id}}", self.get_operation),
            web.post(f"{v1}/operations/{{id}}/cancel", self.cancel_operation),
            *self._administration.routes(),
        )

    async def _authorize(self, request: web.Request, scope: Scope) -> Principal:
        caller = await self._authenticator.authenticate(request)
        if not caller.has_scope(scope):
            raise Forbidden(f"This needs the scope “{scope}”.", code="scope_missing")
        return caller

    async def get_me(self, request: web.Request) -> web.Response:
        caller = await self._authenticator.authenticate(request)
        return web.json_response(
            {
                "tenant": caller.tenant_id,
                "tenant_name": caller.tenant_name,
                "email": caller.email,
                "operator": caller.has_scope("operator"),
                "scopes": sorted(caller.scopes),
            }
        )

    async def list_engines(self, request: web.Request) -> web.Response:
        await self._authorize(request, "stores:read")
        data = [
            {**engine.to_json(), "default": engine.name == self._default_engine}
            for engine in self._engines
        ]
        return web.json_response({"data": data})

    # stores ---------------------------------------------------------------------------------------------------------

    async def list_stores(self, request: web.Request) -> web.Response:
        caller = await self._authorize(request, "stores:read")
        async with self._database.autocommit() as db:
            page, more = await db.stores.list_page(
                tenant_id=caller.tenant_id,
                state=parse_text(request, "state", STORE_STATES),
                query=parse_text(request, "q"),
                limit=parse_number(request, "limit", 25, 1, 100),
                starting_after=parse_id(request, "starting_after", STORE_PREFIX),
            )
        return web.json_response({"data": [store.to_json() for store in page], "has_more": more})

    async def create_store(self, request: web.Request) -> web.Response:
        caller = await self._authorize(request, "stores:write")
        body = parse_body(CreateStoreBody, await read_json(request))
        taken = await self._admission.create_store(
            caller,
            name=body.name,
            engine=body.engine,
            version=body.version,
            plan=body.plan,
            parameters=body.parameters,
            request_id=request[REQUEST_ID],
            idempotency_key=request.headers.get("Idempotency-Key"),
        )
        return make_accepted_response(taken)

    async def get_store(self, request: web.Request) -> web.Response:
        caller = await self._authorize(request, "stores:read")
        store = await self._find_store(caller, request)
        return web.json_response(store.to_json())

    async def delete_store(self, request: web.Request) -> web.Response:
        caller = await self._authorize(request, "stores:write")
        return make_accepted_response(
            await self._admission.delete_store(
                caller, store_ref=get_store_ref(request), request_id=request[REQUEST_ID]
            )
        )

    async def retry_store(self, request: web.Request) -> web.Response:
        caller = await self._authorize(request, "stores:write")
        return make_accepted_response(
            await self._admission.retry_operation(
                caller, store_ref=get_store_ref(request), request_id=request[REQUEST_ID]
            )
        )

    async def upgrade_store(self, request: web.Request) -> web.Response:
        caller = await self._authorize(request, "stores:write")
        await self._find_store(caller, request)
        body = parse_body(UpgradeStoreBody, await read_json(request))
        return make_accepted_response(
            await self._version_admission.upgrade_store(
                caller,
                store_ref=get_store_ref(request),
                version=body.version,
                request_id=request[REQUEST_ID],
            )
        )

    async def roll_back_store(self, request: web.Request) -> web.Response:
        caller = await self._authorize(request, "stores:write")
        await self._find_store(caller, request)
        body = parse_body(RollBackStoreBody, await read_json(request))
        return make_accepted_response(
            await self._version_admission.roll_back_store(
                caller,
                store_ref=get_store_ref(request),
                restore=body.restore,
                discard_orders=body.discard_orders,
                request_id=request[REQUEST_ID],
            )
        )

    async def list_version_history(self, request: web.Request) -> web.Response:
        caller = await self._authorize(request, "stores:read")
        store = await self._find_store(caller, request)
        async with self._database.autocommit() as db:
            page, more = await db.version_history.list_page(
                store=store,
                limit=parse_number(request, "limit", 25, 1, 100),
                starting_after=parse_id(request, "starting_after", OPERATION_PREFIX),
            )
        return web.json_response({"data": [entry.to_json() for entry in page], "has_more": more})

    async def get_resource_usage(self, request: web.Request) -> web.Response:
        caller = await self._authorize(request, "stores:read")
        store = await self._find_store(caller, request)
        return web.json_response(await read_resource_usage(self._engines, self._runtime, store))

    async def reveal_credentials(self, request: web.Request) -> web.Response:
        caller = await self._authorize(request, "credentials:read")
        store = await self._find_store(caller, request)
        credentials = await reveal_credentials(
            self._database, self._runtime, caller, store, request[REQUEST_ID]
        )
        return web.json_response(credentials, headers={"Cache-Control": "no-store"})

    async def list_store_events(self, request: web.Request) -> web.Response:
        caller = await self._authorize(request, "stores:read")
        store = await self._find_store(caller, request)
        async with self._database.autocommit() as db:
            page, more = await db.events.list_of_store(
                tenant_id=caller.tenant_id,
                store_id=store.id,
                limit=parse_number(request, "limit", 25, 1, 100),
                starting_after=parse_id(request, "starting_after", EVENT_PREFIX),
            )
        return web.json_response({"data": [event.to_json() for event in page], "has_more": more})

    async def get_logs(self, request: web.Request) -> web.Response:
        caller = await self._authorize(request, "stores:read")
        store = await self._find_store(caller, request)
        lines = await self._runtime.logs(store, tail=parse_number(request, "tail", 100, 1, 1000))
        return web.json_response({"data": lines})

    async def _find_store(self, caller: Principal, request: web.Request) -> Store:
        async with self._database.autocommit() as db:
            store = await db.stores.find(
                tenant_id=caller.tenant_id,
                store_ref=get_store_ref(request),
                retention=self._retention,
            )
        if store is None:
            raise NotFound("There is no such store.")
        return store

    # operations -----------------------------------------------------------------------------------------------------

    async def list_operations(self, request: web.Request) -> web.Response:
        caller = await self._authorize(request, "stores:read")
        async with self._database.autocommit() as db:
            page, more = await db.operations.list_page(
                tenant_id=caller.tenant_id,
                store_id=parse_id(request, "store_id", STORE_PREFIX),
                state=parse_text(request, "state", _OPERATION_STATES),
                limit=parse_number(request, "limit", 25, 1, 100),
                starting_after=parse_id(request, "starting_after", OPERATION_PREFIX),
            )
        return web.json_response(
            {"data": [operation.to_json() for operation in page], "has_more": more}
        )

    async def get_operation(self, request: web.Request) -> web.Response:
        """With `?wait=<seconds>`: answered when the operation has ended, or after that time."""
        caller = await self._authorize(request, "stores:read")
        operation_id = get_path_id(request, OPERATION_PREFIX)
        deadline = time.monotonic() + parse_number(request, "wait", 0, 0, _MAX_WAIT_S)
        pause = 0.05
        while True:
            async with self._database.autocommit() as db:
                operation = await db.operations.find(
                    tenant_id=caller.tenant_id, operation_id=operation_id
                )
            if operation is None:
                raise NotFound("There is no such operation.")
            if operation.done or time.monotonic() >= deadline:
                return web.json_response(operation.to_json())
            await asyncio.sleep(min(pause, max(0.01, deadline - time.monotonic())))
            pause = min(0.5, pause * 1.3)

    async def cancel_operation(self, request: web.Request) -> web.Response:
        caller = await self._authorize(request, "stores:write")
        operation = await self._admission.cancel_operation(
            caller,
            operation_id=get_path_id(request, OPERATION_PREFIX),
            request_id=request[REQUEST_ID],
        )
        return web.json_response(operation.to_json(), status=200 if operation.done else 202)


async def reveal_credentials(
    database: Database, runtime: Runtime, principal: Principal, store: Store, request_id: str
) -> dict[str, str]:
    """The store's admin sign-in, after a line in the audit log; raises Conflict while there is none."""
    credentials = (
        await runtime.credentials(store) if store.state not in ("deleting", "deleted") else None
    )
    if credentials is None:
        raise Conflict(
            f"The store is {store.state} and has no sign-in to show.", code="no_credentials"
        )
    async with database.transaction() as tx:
        await tx.audit_log.add_entry(
            tenant_id=principal.tenant_id,
            actor=principal.token_id or principal.user_id,
            action="credentials.reveal",
            target=store.id,
            request_id=request_id,
        )
    return credentials._asdict()


async def read_resource_usage(engines: Engines, runtime: Runtime, store: Store) -> dict[str, Any]:
    """The store's plan, and how much of it is taken; `resources` is null where nothing limits the store."""
    engine = engines.find(store.engine)
    plan = engine.plan(store.plan) if engine else None
    uses = await runtime.usage(store) if store.state != "deleted" else None
    resources = [use._asdict() for use in uses] if uses is not None else None
    return {"plan": store.plan, "title": plan.title if plan else "", "resources": resources}
