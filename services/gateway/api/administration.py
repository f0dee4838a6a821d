"""The part of the HTTP API that is about who may come in, and what was left lying: tenants, tokens, dead letters."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

from aiohttp import web

from services.gateway.api.requests import (
    CreateTenantBody,
    CreateTokenBody,
    get_path_id,
    parse_body,
    parse_id,
    parse_number,
)
from services.gateway.api.responses import make_accepted_response
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
from storefleet.database.dead_letters import DeadLetter
from storefleet.database.outbox_rows import make_raw_message
from storefleet.database.pool import Database
from storefleet.database.tokens import ApiToken
from storefleet.http.app import REQUEST_ID, read_json


class Administration:
    """Handlers; `caller` finds out who asks, and refuses who lacks the scope."""

    def __init__(
        self,
        *,
        database: Database,
        accounts: Accounts,
        admission: StoreAdmission,
        authorize: Callable[[web.Request, Scope], Awaitable[Principal]],
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._admission = admission
        self._authorize = authorize

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
        await self._authorize(request, "operator")
        body = parse_body(CreateTenantBody, await read_json(request))
        tenant = await self._accounts.create_tenant(name=body.name, email=body.email)
        shape = {
            "tenant": tenant.tenant_id,
            "email": tenant.email,
            "password": tenant.password,
            "token": tenant.token,
        }
        return web.json_response(shape, status=201, headers={"Cache-Control": "no-store"})

    async def list_tokens(self, request: web.Request) -> web.Response:
        caller = await self._authorize(request, "tokens:write")
        return web.json_response(
            {
                "data": [_make_token_json(t) for t in await self._accounts.list_tokens(caller)],
                "has_more": False,
            }
        )

    async def create_token(self, request: web.Request) -> web.Response:
        caller = await self._authorize(request, "tokens:write")
        body = parse_body(CreateTokenBody, await read_json(request))
        issued = await self._accounts.create_token(
            caller,
            name=body.name,
            scopes=list(
                body.scopes or [scope for scope in OWNER_SCOPES if caller.has_scope(scope)]
            ),
            expires_at=utc_now() + timedelta(days=body.expires_in_days),
            request_id=request[REQUEST_ID],
        )
        shape = {**_make_token_json(issued.token), "token": issued.secret}
        return web.json_response(shape, status=201, headers={"Cache-Control": "no-store"})

    async def revoke_token(self, request: web.Request) -> web.Response:
        caller = await self._authorize(request, "tokens:write")
        await self._accounts.revoke_token(
            caller, token_id=get_path_id(request, TOKEN_PREFIX), request_id=request[REQUEST_ID]
        )
        return web.Response(status=204)

    # dead letters ---------------------------------------------------------------------------------------------------

    async def list_dead_letters(self, request: web.Request) -> web.Response:
        caller = await self._authorize(request, "stores:read")
        async with self._database.autocommit() as db:
            page, more = await db.dead_letters.list_page(
                tenant_id=_get_tenant_filter(caller),
                limit=parse_number(request, "limit", 25, 1, 100),
                starting_after=parse_id(request, "starting_after", DEAD_LETTER_PREFIX),
            )
        return web.json_response(
            {"data": [_make_dead_letter_json(letter) for letter in page], "has_more": more}
        )

    async def get_dead_letter(self, request: web.Request) -> web.Response:
        caller = await self._authorize(request, "stores:read")
        letter_id = get_path_id(request, DEAD_LETTER_PREFIX)
        async with self._database.autocommit() as db:
            letter = await db.dead_letters.find(
                tenant_id=_get_tenant_filter(caller), letter_id=letter_id
            )
        if letter is None:
            raise NotFound("There is no such dead letter.")
        payload = letter.payload.decode(errors="replace")
        return web.json_response({**_make_dead_letter_json(letter), "payload": payload})

    async def replay_dead_letter(self, request: web.Request) -> web.Response:
        """A given-up operation is retried; an unreadable message is sent again as it was."""
        caller = await self._authorize(request, "stores:write")
        letter_id = get_path_id(request, DEAD_LETTER_PREFIX)
        async with self._database.transaction() as tx:
            letter = await tx.dead_letters.find(
                tenant_id=_get_tenant_filter(caller), letter_id=letter_id, lock=True
            )
            if letter is None:
                raise NotFound("There is no such dead letter.")
            if letter.replayed_at is not None:
                raise Conflict("It has been replayed already.", code="already_replayed")
            if letter.operation_id is None or letter.store_id is None:
                await tx.outbox.add(
                    make_raw_message(generate_id(COMMAND_PREFIX), letter.subject, letter.payload),
                )
                await tx.dead_letters.mark_replayed(letter.id)
                return web.json_response(
                    {**_make_dead_letter_json(letter), "replayed_at": format_timestamp(utc_now())},
                    status=202,
                )
        owner = caller.model_copy(update={"tenant_id": letter.tenant_id})
        taken = await self._admission.retry_operation(
            owner, store_ref=letter.store_id, request_id=request[REQUEST_ID]
        )
        async with self._database.transaction() as tx:
            await tx.dead_letters.mark_replayed(letter.id)
        return make_accepted_response(taken)


def _get_tenant_filter(principal: Principal) -> str | None:
    """An operator sees everybody's dead letters."""
    return None if principal.has_scope("operator") else principal.tenant_id


def _make_token_json(token: ApiToken) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "prefix": token.prefix,
        "scopes": token.scopes,
        "created_at": format_timestamp(token.created_at),
        "expires_at": format_timestamp(token.expires_at),
        "last_used_at": format_timestamp(token.last_used_at),
    }


def _make_dead_letter_json(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "tenant_id": letter.tenant_id,
        "store_id": letter.store_id,
        "operation_id": letter.operation_id,
        "reason": letter.reason,
        "detail": letter.detail,
        "subject": letter.subject,
        "created_at": format_timestamp(letter.created_at),
        "replayed_at": format_timestamp(letter.replayed_at),
    }
