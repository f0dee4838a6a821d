"""Signing in and out."""

import re
from collections.abc import Sequence

from aiohttp import web

from services.gateway.dashboard.page_shell import Frame, read_form, render
from storefleet.auth.accounts import Accounts
from storefleet.auth.authentication import SESSION_COOKIE
from storefleet.core.errors import LimitExceeded, RequestError, Unauthenticated
from storefleet.http.app import REQUEST_ID, make_redirect

_LOCAL = re.compile(r"/(?!/|login)[!-\[\]-~]{0,499}")


class SignIn:
    """The door: a form, a cookie, and the way out."""

    def __init__(self, *, frame: Frame, accounts: Accounts) -> None:
        self._frame = frame
        self._accounts = accounts

    def routes(self) -> Sequence[web.RouteDef]:
        return (
            web.get("/login", self.page),
            web.post("/login", self.enter),
            web.post("/logout", self.leave),
        )

    async def page(self, request: web.Request) -> web.StreamResponse:
        target = local(request.query.get("next", ""))
        if await self._frame.signed_in(request) is not None:
            raise web.HTTPSeeOther(target)
        return _form(request, {"next": target})

    async def enter(self, request: web.Request) -> web.StreamResponse:
        self._frame.check_origin(request)
        form = await read_form(request)
        shown = {"email": form.get("email", "")[:254], "next": local(form.get("next", ""))}
        try:
            session = await self._accounts.sign_in(shown["email"], form.get("password", "")[:1024])
        except Unauthenticated as error:
            return _form(request, shown, error=error, status=401)
        except LimitExceeded as error:
            return _form(request, shown, error=error, status=429)
        response = make_redirect(shown["next"])
        response.set_cookie(
            SESSION_COOKIE,
            session.cookie,
            max_age=self._frame.settings.session_hours * 3600,
            httponly=True,
            samesite="Lax",
            secure=self._frame.secure,
        )
        return response

    async def leave(self, request: web.Request) -> web.StreamResponse:
        caller, _form_fields = await self._frame.acting(request)
        if caller.session_hash is not None:
            await self._accounts.sign_out(caller.session_hash)
        response = make_redirect("/login")
        response.del_cookie(SESSION_COOKIE)
        return response


def _form(
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
    response = render("login.html", request, context, status=status)
    if error and error.retry_after:
        response.headers["Retry-After"] = str(round(error.retry_after))
    return response


def local(target: str) -> str:
    """Only a path of ours is gone to after signing in; browsers pass over control characters and turn backslashes."""
    return target if _LOCAL.fullmatch(target) else "/stores"
