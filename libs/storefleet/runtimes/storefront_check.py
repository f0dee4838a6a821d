"""Storefront check: request a store's pages under its host name until they show the expected texts.

It is the last step of a creation and of a version change, on every runtime that serves stores. The
engine's descriptor names the pages and the texts.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from storefleet.core.errors import TransientError
from storefleet.engines.descriptor import Engine
from storefleet.engines.store_pages import CheckedPage
from storefleet.runtimes.protocol import StepContext

_RETRY_INTERVAL_S = 0.25
_REQUEST_TIMEOUT_S = 15
_MAX_PAGE_BYTES = 2 << 20
#: Until the nodes have the rules of a new Service, packets to it are dropped, and the kernel would
#: repeat a SYN only after a second. Several short attempts connect sooner.
_CONNECT_TIMEOUTS_S = (*([0.1] * 7), 2.0)


class StorefrontCheck:
    """Requests pages without cookies and without keep-alive.

    A kept connection would delay the shutdown of the store's web server.
    """

    def __init__(self, *, timeout_s: float = 90, scheme: str = "http") -> None:
        """Create the check.

        Args:
            timeout_s: How long to wait for each page, in seconds.
            scheme: The scheme that customers use, sent as `X-Forwarded-Proto`.
        """
        self._timeout_s = timeout_s
        self._scheme = scheme
        self._http: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def open_resources(self) -> AsyncIterator["StorefrontCheck"]:
        """Hold the HTTP client session until the context exits."""
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
        """Wait until the engine's checks `installed` and `healthy` pass.

        Args:
            context: The step that waits; it reports progress.
            engine: The store's engine, which names the pages.
            server: Where to connect, `http://address:port`.
            host: The `Host` header: the store's host name, with the port if it has one.
            timeout_s: Seconds to wait for each page; by default those of the check.

        Raises:
            TransientError: `store_not_answering`, with the page and what is wrong with it.
        """
        for page in (*engine.checks.installed, *engine.checks.healthy):
            await self._wait_for_page(
                context, page, page.label, server=server, host=host, timeout_s=timeout_s
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
            await asyncio.sleep(_RETRY_INTERVAL_S)

    async def find_problem(
        self,
        page: CheckedPage,
        *,
        server: str,
        host: str,
        request_id: str,
        tls_server_name: str | None = None,
    ) -> str | None:
        """Request a page once.

        Args:
            page: Path and expected text.
            server: Where to connect, `scheme://address:port`.
            host: The `Host` header.
            request_id: Sent as `X-Request-Id`.
            tls_server_name: The SNI name, for HTTPS. The certificate is not verified: the question
                is which server answers, not whether to trust it.

        Returns:
            What is wrong, as the end of a sentence ("answers 500"); None if nothing is.
        """
        tls: dict[str, Any] = {}
        if tls_server_name is not None:
            tls = {"ssl": False, "server_hostname": tls_server_name}
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
        """Send a request, with several attempts to connect."""
        if self._http is None:
            raise RuntimeError("The storefront check is not open.")
        *first, last = _CONNECT_TIMEOUTS_S
        for connect_timeout_s in first:
            try:
                response = await self._http.get(
                    url, timeout=_make_timeout(connect_timeout_s), **request
                )
                break
            except aiohttp.ConnectionTimeoutError:
                continue
        else:
            response = await self._http.get(url, timeout=_make_timeout(last), **request)
        async with response:
            yield response


def _make_timeout(connect_timeout_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=_REQUEST_TIMEOUT_S, sock_connect=connect_timeout_s)


async def _read_page(response: aiohttp.ClientResponse) -> bytes:
    """Read the body up to the size limit."""
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) >= _MAX_PAGE_BYTES:
            break
    return bytes(body[:_MAX_PAGE_BYTES])
