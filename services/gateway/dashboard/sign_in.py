"""Signing in and out."""

import re
from collections.abc import Sequence

from aiohttp import web

from services.gateway.dashboard.page_shell import PageShell, read_form, render_template
from storefleet.auth.accounts import Accounts
from storefleet.auth.authentication import SESSION_COOKIE
from storefleet.core.errors import LimitExceeded, RequestError, Unauthenticated
from storefleet.http.app import REQUEST_ID, make_redirect

_LOCAL_PATH_PATTERN = re.compile(r"/(?!/|login)[!-\[\]-~]{0,499}")


class SignInPage:
    """The door: a form, a cookie, and the way out."""

    def __init__(self, *, page_shell: PageShell, accounts: Accounts) -> None:
        self._page_shell = page_shell
        self._accounts = accounts

    def routes(self) -> Sequence[web.RouteDef]:
        return (
            web.get("/login", self.show_form),
            web.post("/login", self.sign_in),
            web.post("/logout", self.sign_out),
        )

    async def show_form(self, request: web.Request) -> web.StreamResponse:
        target = sanitize_redirect_target(request.query.get("next", ""))
        if await self._page_shell.find_signed_in_user(request) is not None:
            raise web.HTTPSeeOther(target)
        return _render_form(request, {"next": target})

    async def sign_in(self, request: web.Request) -> web.StreamResponse:
        self._page_shell.check_origin(request)
        form = await read_form(request)
        shown = {
            "email": form.get("email", "")[:254],
            "next": sanitize_redirect_target(form.get("next", "")),
        }
        try:
            session = await self._accounts.sign_in(shown["email"], form.get("password", "")[:1024])
        except Unauthenticated as error:
            return _render_form(request, shown, error=error, status=401)
        except LimitExceeded as error:
            return _render_form(request, shown, error=error, status=429)
        response = make_redirect(shown["next"])
        response.set_cookie(
            SESSION_COOKIE,
            session.cookie,
            max_age=self._page_shell.settings.session_hours * 3600,
            httponly=True,
            samesite="Lax",
            secure=self._page_shell.is_https,
        )
        return response

    async def sign_out(self, request: web.Request) -> web.StreamResponse:
        caller, _form_fields = await self._page_shell.read_signed_in_form(request)
        if caller.session_hash is not None:
            await self._accounts.sign_out(caller.session_hash)
        response = make_redirect("/login")
        response.del_cookie(SESSION_COOKIE)
        return response


def _render_form(
    request: web.Request,
    form: dict[str, str],
    *,
    error: RequestError | None = None,
    status: int = 200,
) -> web.StreamResponse:
    context = {
        "me": None,
        "live": None,
        "csrf": None,
        "request_id": request[REQUEST_ID],
        "form": form,
        "errors": [{"pointer": "", "detail": error.detail}] if error else [],
        "retry_after": round(error.retry_after) if error and error.retry_after else None,
    }
    response = render_template("login.html", request, context, status=status)
    if error and error.retry_after:
        response.headers["Retry-After"] = str(round(error.retry_after))
    return response


def sanitize_redirect_target(target: str) -> str:
    """Only a path of ours is gone to after signing in; browsers pass over control characters and turn backslashes."""
    return target if _LOCAL_PATH_PATTERN.fullmatch(target) else "/stores"
