"""The part of the HTTP API that is about who may come in, and what was left lying: tenants, tokens, dead letters."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

from aiohttp import web

from services.gateway.api.requests import NewTenant, NewToken, identifier, number, parsed, path_id
from services.gateway.api.responses import accepted
from storefleet.admission.stores import StoreAdmission
from storefleet.auth.accounts import Accounts
from storefleet.core.errors import Conflict, NotFound
from storefleet.core.identifiers import (
    COMMAND_PREFIX,
    DEAD_LETTER_PREFIX,
    TOKEN_PREFIX,
    generate_id,
)
from storefleet.core.models import OWNER_SCOPES, Principal, Scope, format_timestamp, utc_now
from storefleet.database import dead_letters, outbox
from storefleet.database.pool import Database
from storefleet.http.app import REQUEST_ID, read_json


class Administration:
    """Handlers; `caller` finds out who asks, and refuses who lacks the scope."""

    def __init__(
        self,
        *,
        database: Database,
        accounts: Accounts,
        admission: StoreAdmission,
        caller: Callable[[web.Request, Scope], Awaitable[Principal]],
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._admission = admission
        self._caller = caller

    def routes(self) -> Sequence[web.RouteDef]:
        v1 = "/api/v1"
        return (
            web.post(f"{v1}/tenants", self.create_tenant),
            web.get(f"{v1}/tokens", self.list_tokens),
            web.post(f"{v1}/tokens", self.create_token),
            web.delete(f"{v1}/tokens/{{id}}", self.revoke_token),
            web.get(f"{v1}/dead-letters", self.list_dead_letters),
            web.get(f"{v1}/dead-letters/{{id}}", self.get_dead_letter),
            web.post(f"{v1}/dead-letters/{{id}}/replay", self.replay_dead_letter),
        )

    async def create_tenant(self, request: web.Request) -> web.Response:
        await self._caller(request, "operator")
        body = parsed(NewTenant, await read_json(request))
        tenant = await self._accounts.create_tenant(name=body.name, email=body.email)
        shape = {
            "tenant": tenant.tenant_id,
            "email": tenant.email,
            "password": tenant.password,
            "token": tenant.token,
        }
        return web.json_response(shape, status=201, headers={"Cache-Control": "no-store"})

    async def list_tokens(self, request: web.Request) -> web.Response:
        caller = await self._caller(request, "tokens:write")
        return web.json_response(
            {
                "data": [_token(t) for t in await self._accounts.list_tokens(caller)],
                "has_more": False,
            }
        )

    async def create_token(self, request: web.Request) -> web.Response:
        caller = await self._caller(request, "tokens:write")
        body = parsed(NewToken, await read_json(request))
        token = await self._accounts.create_token(
            caller,
            name=body.name,
            scopes=list(
                body.scopes or [scope for scope in OWNER_SCOPES if caller.has_scope(scope)]
            ),
            expires_at=utc_now() + timedelta(days=body.expires_in_days),
            request_id=request[REQUEST_ID],
        )
        shape = {**_token(token), "token": token["token"]}
        return web.json_response(shape, status=201, headers={"Cache-Control": "no-store"})

    async def revoke_token(self, request: web.Request) -> web.Response:
        caller = await self._caller(request, "tokens:write")
        await self._accounts.revoke_token(
            caller, token_id=path_id(request, TOKEN_PREFIX), request_id=request[REQUEST_ID]
        )
        return web.Response(status=204)

    # dead letters ---------------------------------------------------------------------------------------------------

    async def list_dead_letters(self, request: web.Request) -> web.Response:
        caller = await self._caller(request, "stores:read")
        async with self._database.connection() as conn:
            page, more = await dead_letters.list_page(
                conn,
                tenant_id=_whose(caller),
                limit=number(request, "limit", 25, 1, 100),
                starting_after=identifier(request, "starting_after", DEAD_LETTER_PREFIX),
            )
        return web.json_response({"data": [_letter(letter) for letter in page], "has_more": more})

    async def get_dead_letter(self, request: web.Request) -> web.Response:
        caller = await self._caller(request, "stores:read")
        letter_id = path_id(request, DEAD_LETTER_PREFIX)
        async with self._database.connection() as conn:
            letter = await dead_letters.find_dead_letter(
                conn, tenant_id=_whose(caller), letter_id=letter_id
            )
        if letter is None:
            raise NotFound("There is no such dead letter.")
        payload = bytes(letter["payload"]).decode(errors="replace")
        return web.json_response({**_letter(letter), "payload": payload})

    async def replay_dead_letter(self, request: web.Request) -> web.Response:
        """A given-up operation is retried; an unreadable message is sent again as it was."""
        caller = await self._caller(request, "stores:write")
        letter_id = path_id(request, DEAD_LETTER_PREFIX)
        async with self._database.transaction() as conn:
            letter = await dead_letters.find_dead_letter(
                conn, tenant_id=_whose(caller), letter_id=letter_id, lock=True
            )
            if letter is None:
                raise NotFound("There is no such dead letter.")
            if letter["replayed_at"] is not None:
                raise Conflict("It has been replayed already.", code="already_replayed")
            if letter["operation_id"] is None:
                await outbox.add_rows(
                    conn,
                    outbox.make_raw_message(
                        generate_id(COMMAND_PREFIX), letter["subject"], bytes(letter["payload"])
                    ),
                )
                await dead_letters.mark_replayed(conn, letter["id"])
                return web.json_response(
                    {**_letter(letter), "replayed_at": format_timestamp(utc_now())}, status=202
                )
        owner = caller.model_copy(update={"tenant_id": letter["tenant_id"]})
        taken = await self._admission.retry_operation(
            owner, store_ref=letter["store_id"], request_id=request[REQUEST_ID]
        )
        async with self._database.transaction() as conn:
            await dead_letters.mark_replayed(conn, letter["id"])
        return accepted(taken)


def _whose(caller: Principal) -> str | None:
    """An operator sees everybody's dead letters."""
    return None if caller.has_scope("operator") else caller.tenant_id


def _token(record: Any) -> dict[str, Any]:
    return {
        "id": record["id"],
        "name": record["name"],
        "prefix": record["prefix"],
        "scopes": list(record["scopes"]),
        "created_at": format_timestamp(record["created_at"]),
        "expires_at": format_timestamp(record["expires_at"]),
        "last_used_at": format_timestamp(record["last_used_at"]),
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
        "created_at": format_timestamp(record["created_at"]),
        "replayed_at": format_timestamp(record["replayed_at"]),
    }
