"""Who asks: a program by its token, a person by the session cookie; origin and CSRF are asked of cookies only."""

import hmac
from urllib.parse import urlsplit

from aiohttp import web

from storefleet.auth.accounts import Accounts
from storefleet.core.errors import Forbidden, Unauthenticated
from storefleet.core.models import Principal
from storefleet.core.settings import Settings

SESSION_COOKIE = "storefleet_session"
CSRF_HEADER = "X-CSRF-Token"
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def list_gateway_origins(settings: Settings) -> frozenset[str]:
    """Where pages of ours come from: the public address, and both names of loopback."""
    public = urlsplit(settings.gateway_url)
    local = (f"http://{host}:{settings.gateway_port}" for host in ("127.0.0.1", "localhost"))
    return frozenset((f"{public.scheme}://{public.netloc}", *local))


def read_bearer_token(request: web.Request) -> str | None:
    """The token in the Authorization header; raises Unauthenticated for another scheme."""
    header = request.headers.get("Authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("Send “Authorization: Bearer <token>”.")
    return token.strip()


class Authenticator:
    """Finds the caller of a request."""

    def __init__(self, *, accounts: Accounts, settings: Settings) -> None:
        self._accounts = accounts
        self._origins = list_gateway_origins(settings)

    async def authenticate(self, request: web.Request, *, csrf: str | None = None) -> Principal:
        """The caller; raises Unauthenticated, and Forbidden for a cookie that comes from elsewhere."""
        token = read_bearer_token(request)
        if token is not None:
            caller = await self._accounts.find_by_token(token)
            if caller is None:
                raise Unauthenticated("The token is not valid, or not any more.")
            return caller
        caller = await self.find_signed_in_user(request)
        if caller is None:
            raise Unauthenticated("Sign in, or send a token.")
        if request.method not in _SAFE_METHODS:
            self.check_origin(request)
            check_csrf(caller, csrf or request.headers.get(CSRF_HEADER) or "")
        return caller

    async def find_signed_in_user(self, request: web.Request) -> Principal | None:
        """Who is signed in by cookie."""
        cookie = request.cookies.get(SESSION_COOKIE, "")
        return await self._accounts.find_by_session(cookie) if 20 <= len(cookie) <= 100 else None

    def check_origin(self, request: web.Request) -> None:
        """Raise Forbidden unless the request comes from a page of ours."""
        origin = request.headers.get("Origin")
        if origin is None:
            if request.headers.get("Sec-Fetch-Site", "same-origin") in ("same-origin", "none"):
                return
        elif origin in self._origins and urlsplit(origin).netloc == request.host:
            return
        raise Forbidden("The request comes from another site.", code="foreign_origin")

    def check_websocket_origin(self, request: web.Request) -> None:
        """Raise Forbidden unless the Origin is a page of the gateway on the host that this websocket names."""
        origin = request.headers.get("Origin", "")
        if origin not in self._origins or urlsplit(origin).hostname != request.url.host:
            raise Forbidden(
                "A session may listen only from a page of the dashboard.", code="foreign_origin"
            )


def check_csrf(principal: Principal, csrf: str) -> None:
    if principal.csrf is None or not hmac.compare_digest(principal.csrf.encode(), csrf.encode()):
        raise Forbidden("The form is out of date: reload the page and send it again.", code="csrf")
