"""What all pages share: the signed-in user, CSRF checks, the layout's view data and error pages."""

from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp_jinja2
from aiohttp import web

from services.gateway.dashboard.forms import read_form
from storefleet.auth.authentication import Authenticator, check_csrf
from storefleet.core.errors import DatabaseUnavailable, NotFound, RequestError, Unauthenticated
from storefleet.core.models import Principal
from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.http.problems import REQUEST_ID, make_problem_headers, make_problem_response

_NEXT_STEPS = {
    404: "Check the URL, or find the store in the list.",
    403: "Reload the page and try again.",
    409: "Open the store: its state has changed in the meantime.",
    429: "Wait a little, then try again.",
    502: "Open the store and read its log.",
    503: "Your data is safe. Try again in a few seconds.",
}


class PageShell:
    """Authenticates the user of a page and renders the layout around its content."""

    def __init__(
        self, *, database: Database, authenticator: Authenticator, settings: Settings
    ) -> None:
        self.database = database
        self.settings = settings
        self.is_https = settings.gateway_url.startswith("https://")
        self._authenticator = authenticator

    async def find_signed_in_user(self, request: web.Request) -> Principal | None:
        """Return the user of the session cookie; None without a valid session."""
        return await self._authenticator.find_signed_in_user(request)

    async def require_signed_in_user(self, request: web.Request) -> Principal:
        """Return the signed-in user, or redirect to the sign-in page.

        For requests of htmx it raises Unauthenticated instead: htmx would put the sign-in page into
        the fragment.
        """
        user = await self._authenticator.find_signed_in_user(request)
        if user is None:
            if request.headers.get("HX-Request"):
                raise Unauthenticated("The session has expired. Sign in again.")
            target = request.path_qs if request.method == "GET" else "/stores"
            is_default = target in ("/", "/stores")
            raise web.HTTPSeeOther(
                "/login" if is_default else f"/login?next={quote(target, safe='')}"
            )
        return user

    async def read_signed_in_form(self, request: web.Request) -> tuple[Principal, dict[str, str]]:
        """Return the signed-in user and the fields of the submitted form.

        Raises Forbidden if the form comes from another origin or lacks the session's CSRF token.
        """
        user = await self.require_signed_in_user(request)
        self.check_origin(request)
        form = await read_form(request)
        check_csrf(user, form.pop("csrf_token", ""))
        return user, form

    def check_origin(self, request: web.Request) -> None:
        """Raise Forbidden if the request comes from a page of another origin."""
        self._authenticator.check_origin(request)

    def get_live_port(self) -> int | None:
        """Return the notifier's port; None if a proxy serves it under the gateway's address."""
        public = urlsplit(self.settings.public_live_url)
        return public.port if public.netloc else self.settings.notifier_port

    async def make_context(self, request: web.Request, user: Principal) -> dict[str, Any]:
        """Make the layout's view data.

        Call it before the page's data is read: events after this sequence number are replayed over
        the websocket, so none is missed between the two reads.
        """
        async with self.database.autocommit() as db:
            seq = await db.events.read_last_seq()
        return {
            "me": _make_user_view(user),
            "csrf": user.csrf,
            "live": {"port": self.get_live_port(), "seq": seq},
            "request_id": request[REQUEST_ID],
        }

    async def render_error_page(
        self, request: web.Request, problem: RequestError
    ) -> web.StreamResponse:
        """Render a problem as a page for browsers, and as problem+json for everything else."""
        accepts_html = "text/html" in request.headers.get("Accept", "")
        is_page = accepts_html and not request.headers.get("HX-Request")
        if request.path.startswith("/api/") or not is_page:
            return make_problem_response(request, problem)
        try:
            user = await self._authenticator.find_signed_in_user(request)
        except DatabaseUnavailable:
            user = None
        context = {
            "me": _make_user_view(user) if user else None,
            "csrf": user.csrf if user else None,
            "live": None,
            "request_id": request[REQUEST_ID],
            "error": _make_error_view(request, problem),
        }
        response = render_template("error.html", request, context, status=problem.status)
        response.headers.update(make_problem_headers(problem))
        return response


def render_template(
    template: str, request: web.Request, context: dict[str, Any], *, status: int = 200
) -> web.Response:
    """Render a template to an HTML response."""
    return aiohttp_jinja2.render_template(template, request, context, status=status)


def _make_user_view(user: Principal) -> dict[str, Any]:
    return {
        "email": user.email,
        "tenant": user.tenant_id,
        "tenant_name": user.tenant_name,
        "operator": user.operator,
    }


def _make_error_view(request: web.Request, problem: RequestError) -> dict[str, Any]:
    return {
        "status": problem.status,
        "title": _get_not_found_title(request) if isinstance(problem, NotFound) else problem.title,
        "code": problem.code,
        "detail": problem.detail,
        "next": _NEXT_STEPS.get(problem.status),
    }


def _get_not_found_title(request: web.Request) -> str:
    """Name what is missing: the store or the mail of the URL, or the page itself."""
    if "mail_id" in request.match_info:
        return "Not found"
    return "Store not found" if "ref" in request.match_info else "Page not found"
