"""Authenticate requests: a program by its bearer token, a person by the session cookie.

A browser sends the cookie by itself, even for other sites. So requests with a cookie must also
come from a page of the gateway, and carry its CSRF token when they change anything.
"""

import hmac
from urllib.parse import urlsplit

from aiohttp import web

from storefleet.auth.sessions import Sessions
from storefleet.auth.tokens import Tokens
from storefleet.core.errors import Forbidden, Unauthenticated
from storefleet.core.models import Principal
from storefleet.core.settings import Settings

SESSION_COOKIE = "storefleet_session"
CSRF_HEADER = "X-CSRF-Token"
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_COOKIE_LENGTHS = range(20, 101)


def list_gateway_origins(settings: Settings) -> frozenset[str]:
    """List the origins of the gateway's pages: its public address and both names of loopback."""
    public = urlsplit(settings.gateway_url)
    local = (f"http://{host}:{settings.gateway_port}" for host in ("127.0.0.1", "localhost"))
    return frozenset((f"{public.scheme}://{public.netloc}", *local))


def read_bearer_token(request: web.Request) -> str | None:
    """Read the token of the Authorization header (RFC 6750).

    Args:
        request: The request.

    Returns:
        The token; None when there is no such header.

    Raises:
        Unauthenticated: The header has another scheme.
    """
    header = request.headers.get("Authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("Send “Authorization: Bearer <token>”.")
    return token.strip()


class Authenticator:
    """Finds the principal of a request."""

    def __init__(self, *, sessions: Sessions, tokens: Tokens, settings: Settings) -> None:
        """Create an authenticator.

        Args:
            sessions: The sessions of people.
            tokens: The tokens of programs.
            settings: The addresses of the gateway.
        """
        self._sessions = sessions
        self._tokens = tokens
        self._origins = list_gateway_origins(settings)

    async def authenticate(self, request: web.Request, *, csrf: str | None = None) -> Principal:
        """Find the principal of a request, and check a person's request against CSRF.

        Args:
            request: The request.
            csrf: The CSRF token of a form; without it, that of the header.

        Returns:
            The principal.

        Raises:
            Unauthenticated: There is no valid token and no valid session.
            Forbidden: The request has a cookie and comes from another site, or its CSRF token is
                wrong.
        """
        token = read_bearer_token(request)
        if token is not None:
            principal = await self._tokens.find_principal(token)
            if principal is None:
                raise Unauthenticated("The token is unknown, expired or revoked. Send another one.")
            return principal
        principal = await self.find_signed_in_user(request)
        if principal is None:
            raise Unauthenticated("Sign in, or send a token.")
        if request.method not in _SAFE_METHODS:
            self.check_origin(request)
            check_csrf(principal, csrf or request.headers.get(CSRF_HEADER) or "")
        return principal

    async def find_signed_in_user(self, request: web.Request) -> Principal | None:
        """Find the person whose session the cookie names; None when nobody is signed in."""
        cookie = request.cookies.get(SESSION_COOKIE, "")
        if len(cookie) not in _COOKIE_LENGTHS:
            return None
        return await self._sessions.find_principal(cookie)

    def check_origin(self, request: web.Request) -> None:
        """Check that a request comes from a page of the gateway, by `Origin` or Fetch Metadata.

        Raises:
            Forbidden: It comes from another site.
        """
        origin = request.headers.get("Origin")
        if origin is None:
            if request.headers.get("Sec-Fetch-Site", "same-origin") in ("same-origin", "none"):
                return
        elif origin in self._origins and urlsplit(origin).netloc == request.host:
            return
        raise Forbidden("The request comes from another site.", code="foreign_origin")

    def check_websocket_origin(self, request: web.Request) -> None:
        """Check that a websocket is opened by a page of the gateway on the same host.

        The notifier listens on another port, so only the host names are compared.

        Raises:
            Forbidden: The page belongs to another site.
        """
        origin = request.headers.get("Origin", "")
        if origin not in self._origins or urlsplit(origin).hostname != request.url.host:
            raise Forbidden(
                "A session can receive events only in a page of the dashboard.",
                code="foreign_origin",
            )


def check_csrf(principal: Principal, csrf: str) -> None:
    """Check the CSRF token of a person's request in constant time.

    Raises:
        Forbidden: The token is not the session's.
    """
    if principal.csrf is None or not hmac.compare_digest(principal.csrf.encode(), csrf.encode()):
        raise Forbidden("The form is out of date. Reload the page and send it again.", code="csrf")
