"""Visits a store as a customer's browser would, under its own host name, until it shows what it should."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from storefleet.engines import Engine, Page
from storefleet.errors import TransientError
from storefleet.runtimes.base import Work

_PAGE_LIMIT = 2 << 20


class Visitor:
    """Keeps no cookies and no connections: a kept one would hold a shop up when it stops."""

    def __init__(self, *, patience: float = 90, scheme: str = "http") -> None:
        self._patience = patience
        self._scheme = scheme
        self._http: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Visitor"]:
        timeout = aiohttp.ClientTimeout(total=15, sock_connect=2)
        connector = aiohttp.TCPConnector(force_close=True)
        jar = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(timeout=timeout, connector=connector, cookie_jar=jar) as self._http:
            yield self

    async def prove(self, work: Work, engine: Engine, *, server: str, host: str, patience: float | None = None) -> None:
        """Every page that the engine names shows at `server` (http://address:port) what it says; or TransientError."""
        admin = Page(path=engine.admin.sign_in_path, expect=engine.admin.expect)
        pages = [(engine.storefront, "storefront"), (admin, "admin sign-in")]
        pages += [(page, f"page {page.path}") for page in engine.checks]
        for page, what in pages:
            await self._shows(work, page, what, server=server, host=host, patience=patience)

    async def _shows(
        self, work: Work, page: Page, what: str, *, server: str, host: str, patience: float | None
    ) -> None:
        deadline = time.monotonic() + (self._patience if patience is None else patience)
        request_id = work.request_id or work.operation_id
        while (problem := await self.problem(page, server=server, host=host, request_id=request_id)) is not None:
            if time.monotonic() > deadline:
                raise TransientError(
                    "store_not_answering", f"The {what} {problem}.", next_step="Read the store's log, then retry."
                )
            await work.say(f"Waiting for the {what}: it {problem}")
            await asyncio.sleep(0.25)

    async def problem(
        self, page: Page, *, server: str, host: str, request_id: str, name: str | None = None
    ) -> str | None:
        """What is wrong with a page, or None.

        `name` asks a server for one of the hosts behind it, whatever certificate it has: to learn who answers, not to
        trust it.
        """
        if self._http is None:
            raise RuntimeError("the visitor is not opened")
        tls: dict[str, Any] = {} if name is None else {"ssl": False, "server_hostname": name}
        headers = {"Host": host, "X-Request-Id": request_id, "X-Forwarded-Proto": self._scheme}
        try:
            async with self._http.get(server + page.path, headers=headers, allow_redirects=False, **tls) as response:
                if response.status != 200:
                    return f"answers {response.status}"
                body = await _beginning(response)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return f"does not answer ({type(error).__name__})"
        return None if page.expect.encode() in body else f"does not show “{page.expect}”"


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """As much of the page as counts."""
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) >= _PAGE_LIMIT:
            break
    return bytes(body[:_PAGE_LIMIT])
