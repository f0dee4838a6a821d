"""One HTTP server for all stores of a test, whose answers the test changes."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiohttp import web


class Answer(NamedTuple):
    """How a store answers: its front page, its health, or not at all."""

    status: int = 200
    database: str = "ok"
    location: str = ""
    body: str = "<h1>Pocket</h1>"


SERVING = Answer()
MAINTENANCE = Answer(503)
BROKEN = Answer(500)
NO_DATABASE = Answer(503, database="failing")
BASIC_AUTH = Answer(401)
SIGN_IN = Answer(302, location="/account/login?next=/")
NOT_FOUND = Answer(404)


class AnsweringStores:
    """Answers by the first word of the host name; requests are kept by that word."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: dict[str, Answer] = defaultdict(lambda: SERVING)
        self.hosts: dict[str, list[float]] = defaultdict(list)  # times of front page requests
        self.requests = 0
        self.silent: set[str] = set()  # these hang
        self.held: dict[str, asyncio.Event] = {}  # these answer late, as they would at once
        self.faults: dict[str, int] = defaultdict(int)  # so many front pages fail
        self.headers: list[dict[str, str]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        word = request.host.partition("-")[0]
        self.requests += 1
        self.headers.append(dict(request.headers))
        answer = self.answers[word]
        if request.path == "/":
            self.hosts[request.host].append(time.monotonic())
        if word in self.silent:
            await asyncio.sleep(60)
        if (held := self.held.get(word)) is not None:
            await held.wait()
        if request.path == "/" and self.faults[word] > 0:
            self.faults[word] -= 1
            return web.Response(status=502)
        if request.path == "/storefleet/health":
            return web.json_response(text=f'{{"database":"{answer.database}"}}')
        if "login" in request.path:
            return web.Response(text="Sign in")
        headers = {"Location": answer.location} if answer.location else None
        return web.Response(status=answer.status, headers=headers, text=answer.body)

    def count(self, word: str) -> int:
        return sum(len(times) for host, times in self.hosts.items() if host.startswith(f"{word}-"))


@asynccontextmanager
async def open_stores(port: int) -> AsyncIterator[AnsweringStores]:
    """Serve on the port until the context exits."""
    made = AnsweringStores(port)
    app = web.Application()
    app.router.add_get("/{path:.*}", made.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield made
    finally:
        await runner.cleanup()
