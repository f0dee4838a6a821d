"""What all pages of the dashboard share: who is signed in, forms that are ours, the frame around them, their errors."""

import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp_jinja2
from aiohttp import web

from services.gateway.dashboard import view_models
from storefleet.auth.authentication import Authenticator, check_csrf
from storefleet.core.errors import (
    DatabaseUnavailable,
    RequestError,
    Unauthenticated,
    UnreadableRequest,
)
from storefleet.core.models import Principal
from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.http.app import (
    REQUEST_ID,
    is_storable_text,
    make_problem_headers,
    make_problem_response,
)

_NEXT_STEPS = {
    404: "Check the address, or find the store in the list.",
    403: "Reload the page and try again.",
    409: "Look at the store: something has changed there meanwhile.",
    429: "Wait a little, then try again.",
    503: "Nothing is lost. Try again in a few seconds.",
}
_FIELD_NAMES = {
    "/name": "The name",
    "/engine": "The kind of shop",
    "/version": "The version",
    "/plan": "The plan",
}


class PageShell:
    """Knows the caller of a page, and draws what is around its content."""

    def __init__(
        self, *, database: Database, authenticator: Authenticator, settings: Settings
    ) -> None:
        self.database = database
        self.settings = settings
        self._authenticator = authenticator
        self.is_https = settings.gateway_url.startswith("https://")
        self.retention = timedelta(days=settings.keep_days)

    async def find_signed_in_user(self, request: web.Request) -> Principal | None:
        return await self._authenticator.find_signed_in_user(request)

    async def require_signed_in_user(self, request: web.Request) -> Principal:
        """Who is signed in; raises a redirect to the sign-in otherwise."""
        caller = await self._authenticator.find_signed_in_user(request)
        if caller is None:
            if request.headers.get("HX-Request"):
                raise Unauthenticated("Sign in again.")
            target = request.path_qs if request.method == "GET" else "/stores"
            known = target in ("/", "/stores")
            raise web.HTTPSeeOther("/login" if known else f"/login?next={quote(target, safe='')}")
        return caller

    async def read_signed_in_form(self, request: web.Request) -> tuple[Principal, dict[str, str]]:
        """Who sends this form, and its fields; raises Forbidden for forms that are not ours."""
        caller = await self.require_signed_in_user(request)
        self.check_origin(request)
        form = await read_form(request)
        check_csrf(caller, form.pop("csrf_token", ""))
        return caller, form

    def check_origin(self, request: web.Request) -> None:
        self._authenticator.check_origin(request)

    def get_live_port(self) -> int | None:
        """None when a proxy serves gateway and notifier under one address."""
        public = urlsplit(self.settings.public_live_url)
        return public.port if public.netloc else self.settings.notifier_port

    async def make_context(self, request: web.Request, caller: Principal) -> dict[str, Any]:
        async with self.database.autocommit() as db:
            seq = await db.events.read_last_seq()
        return {
            "me": view_models.make_principal_view(caller),
            "csrf": caller.csrf,
            "live": {"port": self.get_live_port(), "seq": seq},
            "request_id": request[REQUEST_ID],
        }

    async def render_error_page(
        self, request: web.Request, problem: RequestError
    ) -> web.StreamResponse:
        """Problems of the API are JSON; a person sees a page."""
        wants_page = "text/html" in request.headers.get("Accept", "") and not request.headers.get(
            "HX-Request"
        )
        if request.path.startswith("/api/") or not wants_page:
            return make_problem_response(request, problem)
        try:
            caller = await self._authenticator.find_signed_in_user(request)
        except DatabaseUnavailable:
            caller = None
        context = {
            "me": view_models.make_principal_view(caller) if caller else None,
            "csrf": caller.csrf if caller else None,
            "live": None,
            "request_id": request[REQUEST_ID],
            "error": {
                "status": problem.status,
                "title": problem.title,
                "code": problem.code,
                "detail": problem.detail,
                "next": _NEXT_STEPS.get(problem.status),
            },
        }
        response = render_template("error.html", request, context, status=problem.status)
        response.headers.update(make_problem_headers(problem))
        return response


def render_template(
    template: str, request: web.Request, context: dict[str, Any], *, status: int = 200
) -> web.Response:
    return aiohttp_jinja2.render_template(template, request, context, status=status)


async def read_form(request: web.Request) -> dict[str, str]:
    """The fields of a form, text only; of a repeated field the last one. Raises Unreadable."""
    try:
        fields = await request.post()
    except (ValueError, LookupError) as error:  # its boundary, its encoding, or the name of that
        raise UnreadableRequest(f"The form is not readable: {type(error).__name__}.") from None
    return {
        name: value
        for name, value in fields.items()
        if isinstance(value, str) and is_storable_text(value)
    }


def make_field_errors(
    error: RequestError | None, field_names: Mapping[str, str] | None = None
) -> list[dict[str, str]]:
    """What is wrong with a form, each with a pointer to its field; `titles` are what the form calls those."""
    if error is None:
        return []
    named = {**_FIELD_NAMES, **(field_names or {})}
    pairs = error.errors or (("", error.detail),)
    return [
        {"pointer": pointer, "detail": _make_error_sentence(named.get(pointer), detail)}
        for pointer, detail in pairs
    ]


def get_idempotency_key(form: dict[str, str]) -> str:
    """Which makes a form that is sent twice count once."""
    return form.get("idempotency_key") or secrets.token_urlsafe(16)


def _make_error_sentence(field_name: str | None, detail: str) -> str:
    text = f"{field_name} {detail}" if field_name else detail
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
