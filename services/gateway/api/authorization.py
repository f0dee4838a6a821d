"""Authorize API requests: authenticate the principal and require a scope."""

from aiohttp import web

from storefleet.auth.authentication import Authenticator
from storefleet.core.errors import Forbidden
from storefleet.core.models import Principal, Scope


class Authorizer:
    """Maps a request to its principal; every handler of the API starts with a call to it."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    async def authenticate(self, request: web.Request) -> Principal:
        """Return the principal; raise Unauthenticated without valid credentials."""
        return await self._authenticator.authenticate(request)

    async def require_scope(self, request: web.Request, scope: Scope) -> Principal:
        """Return the principal; raise Forbidden if it lacks the scope."""
        principal = await self._authenticator.authenticate(request)
        if not principal.has_scope(scope):
            raise Forbidden(f"This request needs the scope “{scope}”.", code="scope_missing")
        return principal
