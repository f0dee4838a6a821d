"""The HTTP API, `/api/v1`: one tenant's stores; long work answers 202 with an operation (AIP-151)."""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from aiohttp import web

from services.gateway import openapi
from services.gateway.requests import (
    NewRollback,
    NewStore,
    NewTenant,
    NewToken,
    NewVersion,
    identifier,
    number,
    parsed,
    path_id,
    store_ref,
    word,
)
from storefleet.accounts import Accounts
from storefleet.admission import Admission
from storefleet.callers import Callers
from storefleet.changes import Changes
from storefleet.database import access, changes, dead_letters, history, operations, outbox, stores
from storefleet.database.pool import Database
from storefleet.engines import Engines
from storefleet.errors import Conflict, Forbidden, NotFound
from storefleet.identifiers import COMMAND, DEAD_LETTER, EVENT, OPERATION, STORE, TOKEN, new_id
from storefleet.intents import Accepted
from storefleet.models import OWNER_SCOPES, STORE_STATES, Caller, Scope, Store, now, timestamp
from storefleet.runtimes.base import Runtime
from storefleet.settings import Settings
from storefleet.web import REQUEST_ID, read_json

_LONGEST_WAIT = 60
_OPERATION_STATES = ("queued", "running", "succeeded", "failed", "cancelled")


class Api:
    """Handlers; each one finds its caller, asks for a scope, and stays inside the caller's tenant."""

    def __init__(
        self,
        *,
        database: Database,
        admission: Admission,
        changes: Changes,
        accounts: Accounts,
        callers: Callers,
        engines: Engines,
        runtime: Runtime,
        settings: Settings,
    ) -> None:
        self._database = database
        self._admission = admission
        self._changes = changes
        self._accounts = accounts
        self._callers = callers
        self._engines = engines
        self._runtime = runtime
        self._default_engine = engines.default(settings.default_engine)
        self._kept = timedelta(days=settings.keep_days)

    def routes(self) -> Sequence[web.RouteDef]:
        v1 = "/api/v1"
        return (
            web.get(f"{v1}/openapi.json", openapi.handle),
            web.get(f"{v1}/me", self.me),
            web.get(f"{v1}/engines", self.list_engines),
            web.get(f"{v1}/stores", self.list_stores),
            web.post(f"{v1}/stores", self.create_store),
            web.get(f"{v1}/stores/{{ref}}", self.get_store),
            web.delete(f"{v1}/stores/{{ref}}", self.delete_store),
            web.post(f"{v1}/stores/{{ref}}/retry", self.retry_store),
            web.post(f"{v1}/stores/{{ref}}/upgrade", self.upgrade_store),
            web.post(f"{v1}/stores/{{ref}}/rollback", self.roll_back_store),
            web.get(f"{v1}/stores/{{ref}}/history", self.list_history),
            web.get(f"{v1}/stores/{{ref}}/usage", self.read_usage),
            web.post(f"{v1}/stores/{{ref}}/credentials", self.reveal_credentials),
            web.get(f"{v1}/stores/{{ref}}/events", self.list_events),
            web.get(f"{v1}/stores/{{ref}}/logs", self.read_logs),
            web.get(f"{v1}/operations", self.list_operations),
            web.get(f"{v1}/operations/{{id}}", self.get_operation),
            web.post(f"{v1}/operations/{{id}}/cancel", self.cancel_operation),
            web.post(f"{v1}/tenants", self.create_tenant),
            web.get(f"{v1}/tokens", self.list_tokens),
            web.post(f"{v1}/tokens", self.create_token),
            web.delete(f"{v1}/tokens/{{id}}", self.revoke_token),
            web.get(f"{v1}/dead-letters", self.list_dead_letters),
            web.get(f"{v1}/dead-letters/{{id}}", self.get_dead_letter),
            web.post(f"{v1}/dead-letters/{{id}}/replay", self.replay_dead_letter),
        )

    async def _caller(self, request: web.Request, scope: Scope) -> Caller:
        caller = await self._callers.of(request)
        if not caller.may(scope):
            raise Forbidden(f"This needs the scope “{scope}”.", code="scope_missing")
        return caller

    async def me(self, request: web.Request) -> web.Response:
        caller = await self._callers.of(request)
        return web.json_response(
            {
                "tenant": caller.tenant_id,
                "tenant_name": caller.tenant_name,
                "email": caller.email,
                "operator": caller.may("operator"),
                "scopes": sorted(caller.scopes),
            }
        )

    async def list_engines(self, request: web.Request) -> web.Response:
        await self._caller(request, "stores:read")
        data = [{**engine.to_json(), "default": engine.name == self._default_engine} for engine in self._engines]
        return web.json_response({"data": data})

    # stores ---------------------------------------------------------------------------------------------------------

    async def list_stores(self, request: web.Request) -> web.Response:
        caller = await self._caller(request, "stores:read")
        async with self._database.connection() as conn:
            page, more = await stores.listed(
                conn,
                tenant_id=caller.tenant_id,
                state=word(request, "state", STORE_STATES),
                query=word(request, "q"),
                limit=number(request, "limit", 25, 1, 100),
                starting_after=identifier(request, "starting_after", STORE),
            )
        return web.json_response({"data": [store.to_json() for store in page], "has_more": more})

    async def create_store(self, request: web.Request) -> web.Response:
        caller = await self._caller(request, "stores:write")
        body = parsed(NewStore, await read_json(request))
        accepted = await self._admission.create(
            caller,
            name=body.name,
            engine=body.engine,
            version=body.version,
            plan=body.plan,
            parameters=body.parameters,
            request_id=request[REQUEST_ID],
            idempotency_key=request.headers.get("Idempotency-Key"),
        )
        return _accepted(accepted)

    async def get_store(self, request: web.Request) -> web.Response:
        caller = await self._caller(request, "stores:read")
        store = await self._store(caller, request)
        return web.json_response(store.to_json())

    async def delete_store(self, request: web.Request) -> web.Response:
        caller = await self._caller(request, "stores:write")
        return _accepted(await self._admission.delete(caller, ref=store_ref(request), request_id=request[REQUEST_ID]))

    async def retry_store(self, request: web.Request) -> web.Response:
        caller = await self._caller(request, "stores:write")
        return _accepted(await self._admission.retry(caller, ref=store_ref(request), request_id=request[REQUEST_ID]))

    async def upgrade_store(self, request: web.Request) -> web.Response:
        caller = await self._caller(request, "stores:write")
        await self._store(caller, request)
        body = parsed(NewVersion, await read_json(request))
        return _accepted(
            await self._changes.upgrade(
                caller, ref=store_ref(request), version=body.version, request_id=request[REQUEST_ID]
            )
        )

    async def roll_back_store(self, request: web.Request) -> web.Response:
        caller = await self._caller(request, "stores:write")
        await self._store(caller, request)
        body = parsed(NewRollback, await read_json(request))
        return _accepted(
            await self._changes.rollback(
                caller,
                ref=store_ref(request),
                restore=body.restore,
                discard_orders=body.discard_orders,
                request_id=request[REQUEST_ID],
            )
        )

    async def list_history(self, request: web.Request) -> web.Response:
        caller = await self._caller(request, "stores:read")
        store = await self._store(caller, request)
        async with self._database.connection() as conn:
            page, more = await changes.history(
                conn,
                store=store,
                limit=number(request, "limit", 25, 1, 100),
                starting_after=identifier(request, "starting_after", OPERATION),
            )
        return web.json_response({"data": [entry.to_json() for entry in page], "has_more": more})

    async def read_usage(self, request: web.Request) -> web.Response:
        caller = await self._caller(request, "stores:read")
        store = await self._store(caller, request)
        return web.json_response(await usage(self._engines, self._runtime, store))

    async def reveal_credentials(self, request: web.Request) -> web.Response:
        caller = await self._caller(request, "credentials:read")
        store = await self._store(caller, request)
        credentials = await reveal(self._database, self._runtime, caller, store, request[REQUEST_ID])
        return web.json_response(credentials, headers={"Cache-Control": "no-store"})

    async def list_events(self, request: web.Request) -> web.Response:
        caller = await self._caller(request, "stores:read")
        store = await self._store(caller, request)
        async with self._database.connection() as conn:
            page, more = await history.of_store(
                conn,
                tenant_id=caller.tenant_id,
                store_id=store.id,
                limit=number(request, "limit", 25, 1, 100),
                starting_after=identifier(request, "starting_after", EVENT),
            )
        return web.json_response({"data": [event.to_json() for event in page], "has_more": more})

    async def read_logs(self, request: web.Request) -> web.Response:
        caller = await self._caller(request, "stores:read")
        store = await self._store(caller, request)
        lines = await self._runtime.logs(store, tail=number(request, "tail", 100, 1, 1000))
        return web.json_response({"data": lines})

    async def _store(self, caller: Caller, request: web.Request) -> Store:
        async with self._database.connection() as conn:
            store = await stores.find(conn, tenant_id=caller.tenant_id, ref=store_ref(request), kept=self._kept)
        if store is None:
            raise NotFound("There is no such store.")
        return store

    # operations -----------------------------------------------------------------------------------------------------

    async def list_operations(self, request: web.Request) -> web.Response:
        caller = await self._caller(request, "stores:read")
        async with self._database.connection() as conn:
            page, more = await operations.listed(
                conn,
                tenant_id=caller.tenant_id,
                store_id=identifier(request, "store_id", STORE),
                state=word(request, "state", _OPERATION_STATES),
                limit=number(request, "limit", 25, 1, 100),
                starting_after=identifier(request, "starting_after", OPERATION),
            )
        return web.json_response({"data": [operation.to_json() for operation in page], "has_more": more})

    async def get_operation(self, request: web.Request) -> web.Response:
        """With `?wait=<seconds>`: answered when the operation has ended, or after that time."""
        caller = await self._caller(request, "stores:read")
        operation_id = path_id(request, OPERATION)
        deadline = time.monotonic() + number(request, "wait", 0, 0, _LONGEST_WAIT)
        pause = 0.05
        while True:
            async with self._database.connection() as conn:
                operation = await operations.find(conn, tenant_id=caller.tenant_id, operation_id=operation_id)
            if operation is None:
                raise NotFound("There is no such operation.")
            if operation.done or time.monotonic() >= deadline:
                return web.json_response(operation.to_json())
            await asyncio.sleep(min(pause, max(0.01, deadline - time.monotonic())))
            pause = min(0.5, pause * 1.3)

    async def cancel_operation(self, request: web.Request) -> web.Response:
        caller = await self._caller(request, "stores:write")
        operation = await self._admission.cancel(
            caller, operation_id=path_id(request, OPERATION), request_id=request[REQUEST_ID]
        )
        return web.json_response(operation.to_json(), status=200 if operation.done else 202)

    # tenants and tokens ---------------------------------------------------------------------------------------------

    async def create_tenant(self, request: web.Request) -> web.Response:
        await self._caller(request, "operator")
        body = parsed(NewTenant, await read_json(request))
        tenant = await self._accounts.create_tenant(name=body.name, email=body.email)
        shape = {"tenant": tenant.tenant_id, "email": tenant.email, "password": tenant.password, "token": tenant.token}
        return web.json_response(shape, status=201, headers={"Cache-Control": "no-store"})

    async def list_tokens(self, request: web.Request) -> web.Response:
        caller = await self._caller(request, "tokens:write")
        return web.json_response({"data": [_token(t) for t in await self._accounts.tokens(caller)], "has_more": False})

    async def create_token(self, request: web.Request) -> web.Response:
        caller = await self._caller(request, "tokens:write")
        body = parsed(NewToken, await read_json(request))
        token = await self._accounts.create_token(
            caller,
            name=body.name,
            scopes=list(body.scopes or [scope for scope in OWNER_SCOPES if caller.may(scope)]),
            expires_at=now() + timedelta(days=body.expires_in_days),
            request_id=request[REQUEST_ID],
        )
        shape = {**_token(token), "token": token["token"]}
        return web.json_response(shape, status=201, headers={"Cache-Control": "no-store"})

    async def revoke_token(self, request: web.Request) -> web.Response:
        caller = await self._caller(request, "tokens:write")
        await self._accounts.revoke_token(caller, token_id=path_id(request, TOKEN), request_id=request[REQUEST_ID])
        return web.Response(status=204)

    # dead letters ---------------------------------------------------------------------------------------------------

    async def list_dead_letters(self, request: web.Request) -> web.Response:
        caller = await self._caller(request, "stores:read")
        async with self._database.connection() as conn:
            page, more = await dead_letters.listed(
                conn,
                tenant_id=_whose(caller),
                limit=number(request, "limit", 25, 1, 100),
                starting_after=identifier(request, "starting_after", DEAD_LETTER),
            )
        return web.json_response({"data": [_letter(letter) for letter in page], "has_more": more})

    async def get_dead_letter(self, request: web.Request) -> web.Response:
        caller = await self._caller(request, "stores:read")
        letter_id = path_id(request, DEAD_LETTER)
        async with self._database.connection() as conn:
            letter = await dead_letters.find(conn, tenant_id=_whose(caller), letter_id=letter_id)
        if letter is None:
            raise NotFound("There is no such dead letter.")
        payload = bytes(letter["payload"]).decode(errors="replace")
        return web.json_response({**_letter(letter), "payload": payload})

    async def replay_dead_letter(self, request: web.Request) -> web.Response:
        """A given-up operation is retried; an unreadable message is sent again as it was."""
        caller = await self._caller(request, "stores:write")
        letter_id = path_id(request, DEAD_LETTER)
        async with self._database.transaction() as conn:
            letter = await dead_letters.find(conn, tenant_id=_whose(caller), letter_id=letter_id, lock=True)
            if letter is None:
                raise NotFound("There is no such dead letter.")
            if letter["replayed_at"] is not None:
                raise Conflict("It has been replayed already.", code="already_replayed")
            if letter["operation_id"] is None:
                await outbox.add(conn, outbox.raw(new_id(COMMAND), letter["subject"], bytes(letter["payload"])))
                await dead_letters.mark_replayed(conn, letter["id"])
                return web.json_response({**_letter(letter), "replayed_at": timestamp(now())}, status=202)
        owner = caller.model_copy(update={"tenant_id": letter["tenant_id"]})
        accepted = await self._admission.retry(owner, ref=letter["store_id"], request_id=request[REQUEST_ID])
        async with self._database.transaction() as conn:
            await dead_letters.mark_replayed(conn, letter["id"])
        return _accepted(accepted)


async def reveal(database: Database, runtime: Runtime, caller: Caller, store: Store, request_id: str) -> dict[str, str]:
    """The store's admin sign-in, after a line in the audit log; raises Conflict while there is none."""
    credentials = await runtime.credentials(store) if store.state not in ("deleting", "deleted") else None
    if credentials is None:
        raise Conflict(f"The store is {store.state} and has no sign-in to show.", code="no_credentials")
    async with database.transaction() as conn:
        await access.audit(
            conn,
            tenant_id=caller.tenant_id,
            actor=caller.token_id or caller.user_id,
            action="credentials.reveal",
            target=store.id,
            request_id=request_id,
        )
    return credentials._asdict()


async def usage(engines: Engines, runtime: Runtime, store: Store) -> dict[str, Any]:
    """The store's plan, and how much of it is taken; `resources` is null where nothing limits the store."""
    engine = engines.find(store.engine)
    plan = engine.plan(store.plan) if engine else None
    uses = await runtime.usage(store) if store.state != "deleted" else None
    resources = [use._asdict() for use in uses] if uses is not None else None
    return {"plan": store.plan, "title": plan.title if plan else "", "resources": resources}


def _accepted(accepted: Accepted) -> web.Response:
    headers = {"Location": f"/api/v1/operations/{accepted.operation['id']}", "Retry-After": "1"}
    if accepted.replayed:
        headers["Idempotent-Replayed"] = "true"
    body = {"store": accepted.store, "operation": accepted.operation}
    return web.json_response(body, status=202, headers=headers)


def _whose(caller: Caller) -> str | None:
    """An operator sees everybody's dead letters."""
    return None if caller.may("operator") else caller.tenant_id


def _token(record: Any) -> dict[str, Any]:
    return {
        "id": record["id"],
        "name": record["name"],
        "prefix": record["prefix"],
        "scopes": list(record["scopes"]),
        "created_at": timestamp(record["created_at"]),
        "expires_at": timestamp(record["expires_at"]),
        "last_used_at": timestamp(record["last_used_at"]),
    }


def _letter(record: Any) -> dict[str, Any]:
    return {
        "id": record["id"],
        "tenant_id": record["tenant_id"],
        "store_id": record["store_id"],
        "operation_id": record["operation_id"],
        "reason": record["reason"],
        "detail": record["detail"],
        "subject": record["subject"],
        "created_at": timestamp(record["created_at"]),
        "replayed_at": timestamp(record["replayed_at"]),
    }
