"""The dashboard: pages drawn on the server, which work without script; live with it."""

import json
import re
from pathlib import Path

import aiohttp_jinja2
import jinja2
from aiohttp import web

from services.gateway.dashboard.page_shell import Frame
from services.gateway.dashboard.sign_in import SignIn
from services.gateway.dashboard.store_list import StoreList
from services.gateway.dashboard.store_page import StorePage
from storefleet.admission.stores import StoreAdmission
from storefleet.admission.versions import VersionAdmission
from storefleet.auth.accounts import Accounts
from storefleet.auth.authentication import Authenticator
from storefleet.core.errors import NotFound, RequestError
from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.engines.catalogue import Engines
from storefleet.runtimes.protocol import Runtime

_HERE = Path(__file__).parent
_DIST = _HERE / "static" / "dist"
_HOST = re.compile(r"[a-z0-9.-]{1,253}")
_ASSET = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


class Pages:
    """Every page, its templates, and the built files beside them."""

    def __init__(
        self,
        *,
        database: Database,
        admission: StoreAdmission,
        changes: VersionAdmission,
        accounts: Accounts,
        callers: Authenticator,
        engines: Engines,
        runtime: Runtime,
        settings: Settings,
    ) -> None:
        self._frame = Frame(database=database, callers=callers, settings=settings)
        self._parts = (
            SignIn(frame=self._frame, accounts=accounts),
            StoreList(frame=self._frame, admission=admission, engines=engines),
            StorePage(
                frame=self._frame,
                admission=admission,
                changes=changes,
                engines=engines,
                runtime=runtime,
            ),
        )

    def add_to(self, app: web.Application) -> None:
        """Routes, templates and the built assets."""
        environment = aiohttp_jinja2.setup(
            app,
            loader=jinja2.FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.globals["asset"] = Assets(_DIST)
        app.add_routes((web.get("/", self.home), web.get("/static/{name}", self.asset)))
        for part in self._parts:
            app.add_routes(part.routes())
        app.on_response_prepare.append(self._add_headers)

    async def home(self, _request: web.Request) -> web.Response:
        raise web.HTTPSeeOther("/stores")

    async def error(self, request: web.Request, problem: RequestError) -> web.StreamResponse:
        return await self._frame.error(request, problem)

    async def asset(self, request: web.Request) -> web.StreamResponse:
        """A built file; names that no build makes are not even looked for."""
        name = request.match_info["name"]
        if not _ASSET.fullmatch(name) or not (_DIST / name).is_file():
            raise NotFound("There is nothing at this address.")
        return web.FileResponse(_DIST / name)

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
            host = self._frame.settings.host
        scheme = "wss" if self._frame.secure else "ws"
        return f"{scheme}://{host}" + (f":{port}" if (port := self._frame.live_port()) else "")


class Assets:
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
