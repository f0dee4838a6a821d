"""The dashboard: pages drawn on the server, which work without script; live with it."""

import json
import re
from pathlib import Path

import aiohttp_jinja2
import jinja2
from aiohttp import web

from services.gateway.dashboard.page_shell import PageShell
from services.gateway.dashboard.sign_in import SignInPage
from services.gateway.dashboard.store_list import StoreListPage
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

_DASHBOARD_DIR = Path(__file__).parent
_ASSETS_DIR = _DASHBOARD_DIR / "static" / "dist"
_HOST_PATTERN = re.compile(r"[a-z0-9.-]{1,253}")
_ASSET_NAME_PATTERN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


class Pages:
    """Every page, its templates, and the built files beside them."""

    def __init__(
        self,
        *,
        database: Database,
        admission: StoreAdmission,
        version_admission: VersionAdmission,
        accounts: Accounts,
        authenticator: Authenticator,
        engines: Engines,
        runtime: Runtime,
        settings: Settings,
    ) -> None:
        self._page_shell = PageShell(
            database=database, authenticator=authenticator, settings=settings
        )
        self._pages = (
            SignInPage(page_shell=self._page_shell, accounts=accounts),
            StoreListPage(page_shell=self._page_shell, admission=admission, engines=engines),
            StorePage(
                page_shell=self._page_shell,
                admission=admission,
                version_admission=version_admission,
                engines=engines,
                runtime=runtime,
            ),
        )

    def register(self, app: web.Application) -> None:
        """Routes, templates and the built assets."""
        environment = aiohttp_jinja2.setup(
            app,
            loader=jinja2.FileSystemLoader(_DASHBOARD_DIR / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.globals["asset"] = AssetManifest(_ASSETS_DIR)
        app.add_routes(
            (web.get("/", self.redirect_to_stores), web.get("/static/{name}", self.get_asset))
        )
        for part in self._pages:
            app.add_routes(part.routes())
        app.on_response_prepare.append(self._add_headers)

    async def redirect_to_stores(self, _request: web.Request) -> web.Response:
        raise web.HTTPSeeOther("/stores")

    async def render_error_page(
        self, request: web.Request, problem: RequestError
    ) -> web.StreamResponse:
        return await self._page_shell.render_error_page(request, problem)

    async def get_asset(self, request: web.Request) -> web.StreamResponse:
        """A built file; names that no build makes are not even looked for."""
        name = request.match_info["name"]
        if not _ASSET_NAME_PATTERN.fullmatch(name) or not (_ASSETS_DIR / name).is_file():
            raise NotFound("There is nothing at this address.")
        return web.FileResponse(_ASSETS_DIR / name)

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        if request.path.startswith("/static/") and response.status < 400:
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
            return
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["Content-Security-Policy"] = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
            f"connect-src 'self' {self._get_live_origin(request)}; form-action 'self'; frame-ancestors 'none'; "
            "base-uri 'none'"
        )
        response.headers["X-Frame-Options"] = "DENY"

    def _get_live_origin(self, request: web.Request) -> str:
        """The websocket's origin as the page on this host will build it."""
        host = (request.url.host or "").lower()
        if not _HOST_PATTERN.fullmatch(host):
            host = self._page_shell.settings.host
        scheme = "wss" if self._page_shell.is_https else "ws"
        return f"{scheme}://{host}" + (
            f":{port}" if (port := self._page_shell.get_live_port()) else ""
        )


class AssetManifest:
    """Logical names of built files as addresses; the manifest is read again when it changes."""

    def __init__(self, folder: Path) -> None:
        self._manifest = folder / "manifest.json"
        self._manifest_mtime = 0.0
        self._hashed_names: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        try:
            changed = self._manifest.stat().st_mtime
        except FileNotFoundError:
            return f"/static/{name}"
        if changed != self._manifest_mtime:
            self._hashed_names = json.loads(self._manifest.read_text(encoding="utf-8"))["files"]
            self._manifest_mtime = changed
        return f"/static/{self._hashed_names.get(name, name)}"
