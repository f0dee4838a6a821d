"""The sign-in page: sign in with e-mail and password, sign out."""

import re
from collections.abc import Sequence

from aiohttp import web

from services.gateway.dashboard.forms import read_form
from services.gateway.dashboard.page_shell import PageShell, render_template
from storefleet.auth.authentication import SESSION_COOKIE
from storefleet.auth.sessions import Sessions
from storefleet.core.errors import LimitExceeded, RequestError, Unauthenticated
from storefleet.http.problems import REQUEST_ID, make_redirect

_LOCAL_PATH_PATTERN = re.compile(r"/(?!/|login)[!-\[\]-~]{0,499}")
_MAX_EMAIL_LENGTH = 254
_MAX_PASSWORD_LENGTH = 1024


class SignInPage:
    """Creates and ends sessions."""

    def __init__(self, *, page_shell: PageShell, sessions: Sessions) -> None:
        self._page_shell = page_shell
        self._sessions = sessions
        self._is_local = page_shell.settings.runtime == "local"

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes of the sign-in page."""
        return (
            web.get("/login", self.show_form),
            web.post("/login", self.sign_in),
            web.post("/logout", self.sign_out),
        )

    async def show_form(self, request: web.Request) -> web.StreamResponse:
        """Show the sign-in form, or redirect a user who is signed in already."""
        target = sanitize_redirect_target(request.query.get("next", ""))
        if await self._page_shell.find_signed_in_user(request) is not None:
            raise web.HTTPSeeOther(target)
        return self._render_form(request, {"next": target})

    async def sign_in(self, request: web.Request) -> web.StreamResponse:
        """Create a session and redirect to the page that the user came for."""
        self._page_shell.check_origin(request)
        form = await read_form(request)
        fields = {
            "email": form.get("email", "")[:_MAX_EMAIL_LENGTH],
            "next": sanitize_redirect_target(form.get("next", "")),
        }
        password = form.get("password", "")[:_MAX_PASSWORD_LENGTH]
        try:
            session = await self._sessions.sign_in(fields["email"], password)
        except Unauthenticated as error:
            return self._render_form(request, fields, error=error, status=401)
        except LimitExceeded as error:
            return self._render_form(request, fields, error=error, status=429)
        response = make_redirect(fields["next"])
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
        """End the session and its websockets."""
        user, _form_fields = await self._page_shell.read_signed_in_form(request)
        if user.session_hash is not None:
            await self._sessions.sign_out(user.session_hash)
        response = make_redirect("/login")
        response.del_cookie(SESSION_COOKIE)
        return response

    def _render_form(
        self,
        request: web.Request,
        form: dict[str, str],
        *,
        error: RequestError | None = None,
        status: int = 200,
    ) -> web.StreamResponse:
        retry_after_s = round(error.retry_after) if error and error.retry_after else None
        context = {
            "me": None,
            "live": None,
            "csrf": None,
            "request_id": request[REQUEST_ID],
            "form": form,
            "errors": [{"pointer": "", "detail": error.detail}] if error else [],
            "retry_after": retry_after_s,
            "is_local": self._is_local,
        }
        response = render_template("login.html", request, context, status=status)
        if retry_after_s is not None:
            response.headers["Retry-After"] = str(retry_after_s)
        return response


def sanitize_redirect_target(target: str) -> str:
    """Return the target if it is a path of the dashboard, otherwise `/stores`.

    Browsers ignore control characters and read a backslash as a slash, so both are rejected: they
    would turn a path into the address of another site.
    """
    return target if _LOCAL_PATH_PATTERN.fullmatch(target) else "/stores"
