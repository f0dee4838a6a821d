"""`/tokens`: list, create and revoke the tenant's API tokens."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from aiohttp import web

from services.gateway.api.authorization import Authorizer
from services.gateway.api.request_models import CreateTokenBody, parse_body
from services.gateway.api.responses import NO_STORE, make_page_response
from services.gateway.request_parameters import get_path_id
from storefleet.auth.tokens import Tokens
from storefleet.core.identifiers import TOKEN_PREFIX
from storefleet.core.models import OWNER_SCOPES, format_timestamp, utc_now
from storefleet.database.repositories.tokens import ApiToken
from storefleet.http.problems import REQUEST_ID
from storefleet.http.validation import read_json

_PATH = "/api/v1/tokens"


class TokensApi:
    """Handlers for API tokens. The secret of a token is returned once, at its creation."""

    def __init__(self, *, authorizer: Authorizer, tokens: Tokens) -> None:
        self._authorizer = authorizer
        self._tokens = tokens

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes of tokens."""
        return (
            web.get(_PATH, self.list_tokens),
            web.post(_PATH, self.create_token),
            web.delete(f"{_PATH}/{{id}}", self.revoke_token),
        )

    async def list_tokens(self, request: web.Request) -> web.Response:
        """Return all tokens of the tenant, without their secrets."""
        principal = await self._authorizer.require_scope(request, "tokens:write")
        tokens = await self._tokens.list_tokens(principal)
        return make_page_response([_make_token_json(token) for token in tokens], has_more=False)

    async def create_token(self, request: web.Request) -> web.Response:
        """Create a token with at most the creator's scopes."""
        principal = await self._authorizer.require_scope(request, "tokens:write")
        body = parse_body(CreateTokenBody, await read_json(request))
        default_scopes = [scope for scope in OWNER_SCOPES if principal.has_scope(scope)]
        issued = await self._tokens.create_token(
            principal,
            name=body.name,
            scopes=list(body.scopes or default_scopes),
            expires_at=utc_now() + timedelta(days=body.expires_in_days),
            request_id=request[REQUEST_ID],
        )
        content = {**_make_token_json(issued.token), "token": issued.secret}
        return web.json_response(content, status=201, headers=NO_STORE)

    async def revoke_token(self, request: web.Request) -> web.Response:
        """Revoke a token; open websockets of it are closed within a second."""
        principal = await self._authorizer.require_scope(request, "tokens:write")
        await self._tokens.revoke_token(
            principal, token_id=get_path_id(request, TOKEN_PREFIX), request_id=request[REQUEST_ID]
        )
        return web.Response(status=204)


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
