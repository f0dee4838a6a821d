"""Visits a store as a customer's browser would, under its own host name, until it shows what it should."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from storefleet.core.errors import TransientError
from storefleet.engines.catalogue import Engine, Page
from storefleet.runtimes.protocol import StepContext

_PAGE_LIMIT = 2 << 20
_KNOCKS = (*([0.1] * 7), 2.0)  # longest wait for a connection, one try after the other, seconds


class Visitor:
    """Keeps no cookies and no connections: a kept one would hold a shop up when it stops."""

    def __init__(self, *, patience: float = 90, scheme: str = "http") -> None:
        self._patience = patience
        self._scheme = scheme
        self._http: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Visitor"]:
        connector = aiohttp.TCPConnector(force_close=True)
        jar = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(connector=connector, cookie_jar=jar) as self._http:
            yield self

    async def prove(
        self,
        work: StepContext,
        engine: Engine,
        *,
        server: str,
        host: str,
        patience: float | None = None,
    ) -> None:
        """Every page that the engine names shows at `server` (http://address:port) what it says; or TransientError."""
        admin = Page(path=engine.admin.sign_in_path, expect=engine.admin.expect)
        pages = [(engine.storefront, "storefront"), (admin, "admin sign-in")]
        pages += [(page, f"page {page.path}") for page in engine.checks]
        for page, what in pages:
            await self._shows(work, page, what, server=server, host=host, patience=patience)

    async def _shows(
        self,
        work: StepContext,
        page: Page,
        what: str,
        *,
        server: str,
        host: str,
        patience: float | None,
    ) -> None:
        deadline = time.monotonic() + (self._patience if patience is None else patience)
        request_id = work.request_id or work.operation_id
        while (
            problem := await self.problem(page, server=server, host=host, request_id=request_id)
        ) is not None:
            if time.monotonic() > deadline:
                raise TransientError(
                    "store_not_answering",
                    f"The {what} {problem}.",
                    next_step="Read the store's log, then retry.",
                )
            await work.report_progress(f"Waiting for the {what}: it {problem}")
            await asyncio.sleep(0.25)

    async def problem(
        self, page: Page, *, server: str, host: str, request_id: str, name: str | None = None
    ) -> str | None:
        """What is wrong with a page, or None.

        `name` asks a server for one of the hosts behind it, whatever certificate it has: to learn who answers, not to
        trust it.
        """
        tls: dict[str, Any] = {} if name is None else {"ssl": False, "server_hostname": name}
        headers = {"Host": host, "X-Request-Id": request_id, "X-Forwarded-Proto": self._scheme}
        try:
            async with self._answer(
                server + page.path, headers=headers, allow_redirects=False, **tls
            ) as response:
                if response.status != 200:
                    return f"answers {response.status}"
                body = await _beginning(response)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return f"does not answer ({type(error).__name__})"
        return None if page.expect.encode() in body else f"does not show “{page.expect}”"

    @asynccontextmanager
    async def _answer(self, url: str, **request: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """What comes before the nodes know a new Service is dropped, and the kernel would try again after a second."""
        if self._http is None:
            raise RuntimeError("the visitor is not opened")
        *first, last = _KNOCKS
        for patience in first:
            try:
                response = await self._http.get(url, timeout=_timeout(patience), **request)
                break
            except aiohttp.ConnectionTimeoutError:
                continue
        else:
            response = await self._http.get(url, timeout=_timeout(last), **request)
        async with response:
            yield response


def _timeout(connecting: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=15, sock_connect=connecting)


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """As much of the page as counts."""
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) >= _PAGE_LIMIT:
            break
    return bytes(body[:_PAGE_LIMIT])
