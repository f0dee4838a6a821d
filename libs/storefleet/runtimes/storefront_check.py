"""Visits a store as a customer's browser would, under its own host name, until it shows what it should."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from storefleet.core.errors import TransientError
from storefleet.engines.descriptor import CheckedPage, Engine
from storefleet.runtimes.protocol import StepContext

_MAX_PAGE_BYTES = 2 << 20
_CONNECT_TIMEOUTS_S = (
    *([0.1] * 7),
    2.0,
)  # longest wait for a connection, one try after the other, seconds


class StorefrontCheck:
    """Keeps no cookies and no connections: a kept one would hold a shop up when it stops."""

    def __init__(self, *, timeout_s: float = 90, scheme: str = "http") -> None:
        self._timeout_s = timeout_s
        self._scheme = scheme
        self._http: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def open_resources(self) -> AsyncIterator["StorefrontCheck"]:
        connector = aiohttp.TCPConnector(force_close=True)
        jar = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(connector=connector, cookie_jar=jar) as self._http:
            yield self

    async def wait_until_healthy(
        self,
        context: StepContext,
        engine: Engine,
        *,
        server: str,
        host: str,
        timeout_s: float | None = None,
    ) -> None:
        """Every page that the engine names shows at `server` (http://address:port) what it says; or TransientError."""
        admin = CheckedPage(path=engine.admin.sign_in_path, expect=engine.admin.expect)
        pages = [(engine.storefront, "storefront"), (admin, "admin sign-in")]
        pages += [(page, f"page {page.path}") for page in engine.checks]
        for page, what in pages:
            await self._wait_for_page(
                context, page, what, server=server, host=host, timeout_s=timeout_s
            )

    async def _wait_for_page(
        self,
        context: StepContext,
        page: CheckedPage,
        page_title: str,
        *,
        server: str,
        host: str,
        timeout_s: float | None,
    ) -> None:
        deadline = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        request_id = context.request_id or context.operation_id
        while (
            problem := await self.find_problem(
                page, server=server, host=host, request_id=request_id
            )
        ) is not None:
            if time.monotonic() > deadline:
                raise TransientError(
                    "store_not_answering",
                    f"The {page_title} {problem}.",
                    next_step="Read the store's log, then retry.",
                )
            await context.report_progress(f"Waiting for the {page_title}: it {problem}")
            await asyncio.sleep(0.25)

    async def find_problem(
        self,
        page: CheckedPage,
        *,
        server: str,
        host: str,
        request_id: str,
        tls_server_name: str | None = None,
    ) -> str | None:
        """What is wrong with a page, or None.

        `name` asks a server for one of the hosts behind it, whatever certificate it has: to learn who answers, not to
        trust it.
        """
        tls: dict[str, Any] = (
            {} if tls_server_name is None else {"ssl": False, "server_hostname": tls_server_name}
        )
        headers = {"Host": host, "X-Request-Id": request_id, "X-Forwarded-Proto": self._scheme}
        try:
            async with self._open_response(
                server + page.path, headers=headers, allow_redirects=False, **tls
            ) as response:
                if response.status != 200:
                    return f"answers {response.status}"
                body = await _read_page(response)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return f"does not answer ({type(error).__name__})"
        return None if page.expect.encode() in body else f"does not show “{page.expect}”"

    @asynccontextmanager
    async def _open_response(
        self, url: str, **request: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """What comes before the nodes know a new Service is dropped, and the kernel would try again after a second."""
        if self._http is None:
            raise RuntimeError("the visitor is not opened")
        *first, last = _CONNECT_TIMEOUTS_S
        for patience in first:
            try:
                response = await self._http.get(url, timeout=_make_timeout(patience), **request)
                break
            except aiohttp.ConnectionTimeoutError:
                continue
        else:
            response = await self._http.get(url, timeout=_make_timeout(last), **request)
        async with response:
            yield response


def _make_timeout(connect_timeout_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=15, sock_connect=connect_timeout_s)


async def _read_page(response: aiohttp.ClientResponse) -> bytes:
    """As much of the page as counts."""
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) >= _MAX_PAGE_BYTES:
            break
    return bytes(body[:_MAX_PAGE_BYTES])
