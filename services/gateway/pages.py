"""The dashboard: pages drawn on the server, which work without script; live with it."""

import asyncio
import json
import re
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp_jinja2
import jinja2
from aiohttp import web

from services.gateway import views
from services.gateway.api import reveal
from services.gateway.requests import identifier, path_id, store_ref, word
from storefleet.accounts import Accounts
from storefleet.admission import Admission
from storefleet.callers import COOKIE, Callers, check_csrf
from storefleet.changes import Changes
from storefleet.database import history, operations, stores
from storefleet.database.pool import Database
from storefleet.engines import Engines
from storefleet.errors import (
    Conflict,
    DatabaseAway,
    Invalid,
    Limited,
    NotFound,
    RequestError,
    RuntimeAway,
    Unauthenticated,
    Unreadable,
)
from storefleet.identifiers import OPERATION, STORE
from storefleet.models import STORE_STATES, Caller, Store
from storefleet.runtimes.base import Runtime
from storefleet.settings import Settings
from storefleet.web import REQUEST_ID, is_clean, problem_headers, problem_response, redirect

_HERE = Path(__file__).parent
_DIST = _HERE / "static" / "dist"
_PAGE = 25
_EVENTS = 50
_LOG_LINES = 200
_LOG_TIMEOUT = 3.0
_HOST = re.compile(r"[a-z0-9.-]{1,253}")
_ASSET = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
_LOCAL = re.compile(r"/(?!/|login)[!-\[\]-~]{0,499}")
_NEXT_STEPS = {
    404: "Check the address, or find the store in the list.",
    403: "Reload the page and try again.",
    429: "Wait a little, then try again.",
    503: "Nothing is lost. Try again in a few seconds.",
}


class Pages:
    """Handlers of the dashboard."""

    def __init__(
        self,
        *,
        database: Database,
        admission: Admission,
        changes: Changes,
        accounts: Accounts,
        callers: Callers,
        engines: Engines,
        runtime: Runtime,
        settings: Settings,
    ) -> None:
        self._database = database
        self._admission = admission
        self._changes = changes
        self._accounts = accounts
        self._callers = callers
        self._engines = engines
        self._runtime = runtime
        self._settings = settings
        self._secure = settings.gateway_url.startswith("https://")
        self._kept = timedelta(days=settings.keep_days)

    def add_to(self, app: web.Application) -> None:
        """Routes, templates and the built assets."""
        environment = aiohttp_jinja2.setup(
            app,
            loader=jinja2.FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.globals["asset"] = _Assets(_DIST)
        app.add_routes(
            (
                web.get("/", self.home),
                web.get("/login", self.sign_in_page),
                web.post("/login", self.sign_in),
                web.post("/logout", self.sign_out),
                web.get("/stores", self.list_stores),
                web.get("/stores/table", self.table),
                web.get("/stores/new", self.new_store_page),
                web.post("/stores/new", self.new_store),
                web.get("/stores/{ref}", self.detail),
                web.get("/stores/{ref}/live", self.live),
                web.post("/stores/{ref}/delete", self.delete),
                web.post("/stores/{ref}/retry", self.retry),
                web.post("/stores/{ref}/credentials", self.credentials),
                web.post("/operations/{id}/cancel", self.cancel),
                web.get("/static/{name}", self.asset),
            )
        )
        app.on_response_prepare.append(self._add_headers)

    # frame ----------------------------------------------------------------------------------------------------------

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        if request.path.startswith("/static/") and response.status < 400:
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
            return
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["Content-Security-Policy"] = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
            f"connect-src 'self' {self._live_origin(request)}; form-action 'self'; frame-ancestors 'none'; "
            "base-uri 'none'"
        )
        response.headers["X-Frame-Options"] = "DENY"

    def _live_origin(self, request: web.Request) -> str:
        """The websocket's origin as the page on this host will build it."""
        host = (request.url.host or "").lower()
        if not _HOST.fullmatch(host):
            host = self._settings.host
        scheme = "wss" if self._secure else "ws"
        return f"{scheme}://{host}" + (f":{port}" if (port := self._live_port()) else "")

    def _live_port(self) -> int | None:
        """None when a proxy serves gateway and notifier under one address."""
        public = urlsplit(self._settings.public_live_url)
        return public.port if public.netloc else self._settings.notifier_port

    async def _frame(self, request: web.Request, caller: Caller) -> dict[str, Any]:
        async with self._database.connection() as conn:
            seq = await history.last_seq(conn)
        return {
            "me": views.me(caller),
            "csrf": caller.csrf,
            "live": {"port": self._live_port(), "seq": seq},
            "request_id": request[REQUEST_ID],
            "domain": self._settings.store_domain,
        }

    async def _person(self, request: web.Request) -> Caller:
        """Who is signed in; raises a redirect to the sign-in otherwise."""
        caller = await self._callers.person(request)
        if caller is None:
            if request.headers.get("HX-Request"):
                raise Unauthenticated("Sign in again.")
            target = request.path_qs if request.method == "GET" else "/stores"
            raise web.HTTPSeeOther("/login" if target in ("/", "/stores") else f"/login?next={_quoted(target)}")
        return caller

    async def _acting(self, request: web.Request) -> tuple[Caller, dict[str, str]]:
        """Who sends this form, and its fields; raises Forbidden for forms that are not ours."""
        caller = await self._person(request)
        self._callers.check_origin(request)
        form = await _form(request)
        check_csrf(caller, form.pop("csrf_token", ""))
        return caller, form

    async def error(self, request: web.Request, problem: RequestError) -> web.StreamResponse:
        """Problems of the API are JSON; a person sees a page."""
        wants_page = "text/html" in request.headers.get("Accept", "") and not request.headers.get("HX-Request")
        if request.path.startswith("/api/") or not wants_page:
            return problem_response(request, problem)
        try:
            caller = await self._callers.person(request)
        except DatabaseAway:
            caller = None
        context = {
            "me": views.me(caller) if caller else None,
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
        response = _render("error.html", request, context, status=problem.status)
        response.headers.update(problem_headers(problem))
        return response

    async def asset(self, request: web.Request) -> web.StreamResponse:
        """A built file; names that no build makes are not even looked for."""
        name = request.match_info["name"]
        if not _ASSET.fullmatch(name) or not (_DIST / name).is_file():
            raise NotFound("There is nothing at this address.")
        return web.FileResponse(_DIST / name)

    # signing in -----------------------------------------------------------------------------------------------------

    async def home(self, _request: web.Request) -> web.Response:
        raise web.HTTPSeeOther("/stores")

    async def sign_in_page(self, request: web.Request) -> web.StreamResponse:
        if await self._callers.person(request) is not None:
            raise web.HTTPSeeOther(_local(request.query.get("next", "")))
        return self._sign_in_form(request, {"next": _local(request.query.get("next", ""))})

    async def sign_in(self, request: web.Request) -> web.StreamResponse:
        self._callers.check_origin(request)
        form = await _form(request)
        shown = {"email": form.get("email", "")[:254], "next": _local(form.get("next", ""))}
        try:
            session = await self._accounts.sign_in(shown["email"], form.get("password", "")[:1024])
        except Unauthenticated as error:
            return self._sign_in_form(request, shown, error=error, status=401)
        except Limited as error:
            return self._sign_in_form(request, shown, error=error, status=429)
        response = redirect(shown["next"])
        response.set_cookie(
            COOKIE,
            session.cookie,
            max_age=self._settings.session_hours * 3600,
            httponly=True,
            samesite="Lax",
            secure=self._secure,
        )
        return response

    def _sign_in_form(
        self, request: web.Request, form: dict[str, str], *, error: RequestError | None = None, status: int = 200
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
        response = _render("login.html", request, context, status=status)
        if error and error.retry_after:
            response.headers["Retry-After"] = str(round(error.retry_after))
        return response

    async def sign_out(self, request: web.Request) -> web.StreamResponse:
        caller, _form_fields = await self._acting(request)
        if caller.session_hash is not None:
            await self._accounts.sign_out(caller.session_hash)
        response = redirect("/login")
        response.del_cookie(COOKIE)
        return response

    # stores ---------------------------------------------------------------------------------------------------------

    async def list_stores(self, request: web.Request) -> web.StreamResponse:
        caller = await self._person(request)
        context = {**await self._frame(request, caller), **await self._table_data(request, caller)}
        return _render("stores/list.html", request, context)

    async def table(self, request: web.Request) -> web.StreamResponse:
        caller = await self._person(request)
        return _render("stores/_table.html", request, await self._table_data(request, caller))

    async def _table_data(self, request: web.Request, caller: Caller) -> dict[str, Any]:
        query, state = word(request, "q"), word(request, "state", STORE_STATES)
        after = identifier(request, "starting_after", STORE)
        async with self._database.connection() as conn:
            page, more = await stores.listed(
                conn, tenant_id=caller.tenant_id, state=state, query=query, limit=_PAGE, starting_after=after
            )
            latest = await operations.latest_of_stores(conn, [store.id for store in page])
        quota = await self._admission.quota(caller)
        return {
            "stores": [views.store(store, latest.get(store.id)) for store in page],
            "page": {
                "has_more": more,
                "next": page[-1].id if page else None,
                "q": query,
                "state": state,
                "starting_after": after,
            },
            "quota": quota._asdict(),
        }

    async def _log_lines(self, store: Store) -> list[str]:
        """The page is of use without them, when the place where stores run is away."""
        try:
            async with asyncio.timeout(_LOG_TIMEOUT):
                return await self._runtime.logs(store, tail=_LOG_LINES)
        except (RuntimeAway, TimeoutError) as error:
            return [f"The log cannot be read at the moment. {error}".strip()]

    async def new_store_page(self, request: web.Request) -> web.StreamResponse:
        caller = await self._person(request)
        return await self._new_store_form(request, caller, {"engine": self._default_engine()})

    async def new_store(self, request: web.Request) -> web.StreamResponse:
        caller, form = await self._acting(request)
        name = form.get("name", "").strip().lower()
        try:
            engine = self._engines.get(form.get("engine") or self._default_engine())
            accepted = await self._admission.create(
                caller,
                name=name,
                engine=engine.name,
                parameters=views.form_parameters(form, engine.name, engine.parameters),
                request_id=request[REQUEST_ID],
                idempotency_key=form.get("idempotency_key") or None,
            )
        except (Invalid, Conflict, Limited) as error:
            return await self._new_store_form(request, caller, form, error=error)
        raise web.HTTPSeeOther(f"/stores/{accepted.store['id']}")

    def _default_engine(self) -> str:
        return self._engines.default(self._settings.default_engine)

    async def _new_store_form(
        self, request: web.Request, caller: Caller, form: dict[str, str], *, error: RequestError | None = None
    ) -> web.StreamResponse:
        context = {
            **await self._frame(request, caller),
            "form": form,
            "errors": _shown_errors(error),
            "idempotency_key": form.get("idempotency_key") or secrets.token_urlsafe(16),
            "engines": [engine.to_json() for engine in self._engines],
            "quota": (await self._admission.quota(caller))._asdict(),
        }
        return _render("stores/new.html", request, context, status=422 if error else 200)

    async def detail(self, request: web.Request) -> web.StreamResponse:
        caller = await self._person(request)
        return await self._detail(request, caller)

    async def live(self, request: web.Request) -> web.StreamResponse:
        caller = await self._person(request)
        store = await self._store(request, caller)
        return _render("stores/_live.html", request, await self._live_data(caller, store))

    async def _detail(
        self, request: web.Request, caller: Caller, *, status: int = 200, **more: Any
    ) -> web.StreamResponse:
        frame = await self._frame(request, caller)  # its seq first: what comes later is replayed, not missed
        store = await self._store(request, caller)
        context = {**frame, **await self._live_data(caller, store), **more}
        return _render("stores/detail.html", request, context, status=status)

    async def _live_data(self, caller: Caller, store: Store) -> dict[str, Any]:
        async with self._database.connection() as conn:
            latest = (await operations.latest_of_stores(conn, [store.id])).get(store.id)
            events, _more = await history.of_store(conn, tenant_id=caller.tenant_id, store_id=store.id, limit=_EVENTS)
        return {
            "store": store.to_json(),
            "operation": views.operation(latest),
            "events": [views.event(event) for event in events],
            "logs": await self._log_lines(store),
            "credentials": None,
            "errors": [],
            "form": {},
            "csrf": caller.csrf,
            "domain": self._settings.store_domain,
        }

    async def delete(self, request: web.Request) -> web.StreamResponse:
        caller, form = await self._acting(request)
        store = await self._store(request, caller)
        if form.get("confirm", "").strip() != store.name:
            errors = [{"pointer": "/confirm", "detail": f"Type “{store.name}” to confirm."}]
            return await self._detail(request, caller, status=422, errors=errors, form=form)
        await self._admission.delete(caller, ref=store.id, request_id=request[REQUEST_ID])
        raise web.HTTPSeeOther(f"/stores/{store.id}")

    async def retry(self, request: web.Request) -> web.StreamResponse:
        caller, _form_fields = await self._acting(request)
        store = await self._store(request, caller)
        await self._admission.retry(caller, ref=store.id, request_id=request[REQUEST_ID])
        raise web.HTTPSeeOther(f"/stores/{store.id}")

    async def credentials(self, request: web.Request) -> web.StreamResponse:
        caller, _form_fields = await self._acting(request)
        store = await self._store(request, caller)
        shown = await reveal(self._database, self._runtime, caller, store, request[REQUEST_ID])
        return await self._detail(request, caller, credentials=shown)

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        caller, _form_fields = await self._acting(request)
        operation = await self._admission.cancel(
            caller, operation_id=path_id(request, OPERATION), request_id=request[REQUEST_ID]
        )
        raise web.HTTPSeeOther(f"/stores/{operation.store_id}")

    async def _store(self, request: web.Request, caller: Caller) -> Store:
        async with self._database.connection() as conn:
            store = await stores.find(conn, tenant_id=caller.tenant_id, ref=store_ref(request), kept=self._kept)
        if store is None:
            raise NotFound("There is no such store, or it was deleted more than a week ago.")
        return store


class _Assets:
    """Logical names of built files as addresses; the manifest is read again when it changes."""

    def __init__(self, folder: Path) -> None:
        self._manifest = folder / "manifest.json"
        self._read_at = 0.0
        self._names: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        try:
            changed = self._manifest.stat().st_mtime
        except FileNotFoundError:
            return f"/static/{name}"
        if changed != self._read_at:
            self._names = json.loads(self._manifest.read_text(encoding="utf-8"))["files"]
            self._read_at = changed
        return f"/static/{self._names.get(name, name)}"


def _render(template: str, request: web.Request, context: dict[str, Any], *, status: int = 200) -> web.Response:
    return aiohttp_jinja2.render_template(template, request, context, status=status)


async def _form(request: web.Request) -> dict[str, str]:
    """The fields of a form, text only; of a repeated field the last one. Raises Unreadable."""
    try:
        fields = await request.post()
    except (ValueError, LookupError) as error:  # its boundary, its encoding, or the name of that
        raise Unreadable(f"The form is not readable: {type(error).__name__}.") from None
    return {name: value for name, value in fields.items() if isinstance(value, str) and is_clean(value)}


def _shown_errors(error: RequestError | None) -> list[dict[str, str]]:
    if error is None:
        return []
    pairs = error.errors or (("", error.detail),)
    return [{"pointer": pointer, "detail": _sentence(pointer, detail)} for pointer, detail in pairs]


def _sentence(pointer: str, detail: str) -> str:
    text = f"The name {detail}." if pointer == "/name" else detail
    return text[:1].upper() + text[1:]


def _local(target: str) -> str:
    """Only a path of ours is gone to after signing in; browsers pass over control characters and turn backslashes."""
    return target if _LOCAL.fullmatch(target) else "/stores"


def _quoted(target: str) -> str:
    from urllib.parse import quote

    return quote(target, safe="")
