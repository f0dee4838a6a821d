"""Assemble the dashboard: its pages, templates, static files and security headers."""

import re
from pathlib import Path

import aiohttp_jinja2
import jinja2
from aiohttp import web

from services.gateway.dashboard.assets import ASSETS_DIR, AssetManifest, get_asset
from services.gateway.dashboard.mail_pages import MailPages
from services.gateway.dashboard.page_shell import PageShell
from services.gateway.dashboard.sign_in import SignInPage
from services.gateway.dashboard.store_list import StoreListPage
from services.gateway.dashboard.store_page import StorePage
from services.gateway.mail_reading import MailReader
from services.gateway.store_lookup import StoreLookup
from storefleet.admission.stores import StoreAdmission
from storefleet.admission.versions import VersionAdmission
from storefleet.auth.authentication import Authenticator
from storefleet.auth.sessions import Sessions
from storefleet.core.errors import RequestError
from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.engines.catalogue import EngineCatalogue
from storefleet.runtimes.protocol import Runtime

_TEMPLATES_DIR = Path(__file__).parent / "templates"
_HOST_PATTERN = re.compile(r"[a-z0-9.-]{1,253}")


class Pages:
    """All pages of the dashboard."""

    def __init__(
        self,
        *,
        database: Database,
        admission: StoreAdmission,
        version_admission: VersionAdmission,
        sessions: Sessions,
        authenticator: Authenticator,
        engines: EngineCatalogue,
        runtime: Runtime,
        settings: Settings,
        lookup: StoreLookup,
        mails: MailReader,
    ) -> None:
        self._page_shell = PageShell(
            database=database, authenticator=authenticator, settings=settings
        )
        self._pages = (
            SignInPage(page_shell=self._page_shell, sessions=sessions),
            StoreListPage(page_shell=self._page_shell, admission=admission, engines=engines),
            StorePage(
                page_shell=self._page_shell,
                admission=admission,
                version_admission=version_admission,
                engines=engines,
                runtime=runtime,
                lookup=lookup,
            ),
            MailPages(page_shell=self._page_shell, lookup=lookup, mails=mails),
        )

    def register(self, app: web.Application) -> None:
        """Add routes, templates and response headers to the application."""
        environment = aiohttp_jinja2.setup(
            app,
            loader=jinja2.FileSystemLoader(_TEMPLATES_DIR),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.globals["asset"] = AssetManifest(ASSETS_DIR)
        app.add_routes(
            (web.get("/", self.redirect_to_stores), web.get("/static/{name}", get_asset))
        )
        for page in self._pages:
            app.add_routes(page.routes())
        app.on_response_prepare.append(self._add_headers)

    async def redirect_to_stores(self, _request: web.Request) -> web.Response:
        """Redirect the root to the list of stores."""
        raise web.HTTPSeeOther("/stores")

    async def render_error_page(
        self, request: web.Request, problem: RequestError
    ) -> web.StreamResponse:
        """Render a problem as a page, or as JSON for clients that are not browsers."""
        return await self._page_shell.render_error_page(request, problem)

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        if request.path.startswith("/static/") and response.status < 400:
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
            return
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault(
            "Content-Security-Policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
            f" font-src 'self'; connect-src 'self' {self._get_live_origin(request)};"
            " frame-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        )
        response.headers.setdefault("X-Frame-Options", "DENY")

    def _get_live_origin(self, request: web.Request) -> str:
        """Return the websocket's origin as app.js computes it for the host of this request."""
        host = (request.url.host or "").lower()
        if not _HOST_PATTERN.fullmatch(host):
            host = self._page_shell.settings.host
        scheme = "wss" if self._page_shell.is_https else "ws"
        port = self._page_shell.get_live_port()
        return f"{scheme}://{host}" + (f":{port}" if port else "")
