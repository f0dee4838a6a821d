"""A small store on a port of this machine, whose owner changes it while tests observe it.

It serves what the test engine “pocket” declares: `/`, `/admin/login/` and `/storefleet/health`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

HOST = "acme.localhost:8080"
SIGN_IN = '<form><input type="password" name="secret"></form>'


class OwnedStore:
    """Pages by path: each a status, a body and, for redirects, a location."""

    def __init__(self) -> None:
        self.server = ""
        self.requests: list[tuple[str, str]] = []
        self.health = '{"database":"ok","storefront":"open"}'
        self.pages: dict[str, tuple[int, str, str]] = {}
        self.gate: tuple[int, str, str] | None = None
        self.put("/", "Pocket teapot")
        self.redirect("/admin/", "/admin/login/")
        self.put("/admin/login/", "Sign in to Pocket")

    def put(self, path: str, text: str, status: int = 200) -> None:
        """Set what a path answers."""
        self.pages[path] = (status, text, "")

    def set_health(self, before: str, after: str) -> None:
        """Replace a word of the health page."""
        self.health = self.health.replace(before, after)

    def redirect(self, path: str, location: str, status: int = 302) -> None:
        """Redirect a path."""
        self.pages[path] = (status, "", location)

    def close_with_gate(self, status: int, text: str = "", location: str = "") -> None:
        """Answer every page of the owner in one way, as a maintenance or password plugin does."""
        self.gate = (status, text, location)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a request."""
        self.requests.append((request.path_qs, request.headers.get("Cookie", "")))
        if request.host.split(":")[0] != HOST.split(":", maxsplit=1)[0]:
            return web.Response(status=404)
        if request.path == "/storefleet/health":
            return web.Response(text=self.health, content_type="application/json")
        status, text, location = self.gate or self.pages.get(request.path, (404, "Not found", ""))
        if self.gate and location and request.path == location:
            status, text, location = 200, SIGN_IN, ""
        response = web.Response(status=status, text=text, content_type="text/html")
        if location:
            response.headers["Location"] = location
            response.set_cookie("seen", "1")
        return response


@asynccontextmanager
async def run_owned_store(port: int = 0) -> AsyncIterator[OwnedStore]:
    """Serve a store on 127.0.0.1 until the context exits."""
    store = OwnedStore()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", store.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        store.server = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield store
    finally:
        await runner.cleanup()
