"""HTTP client for the pages of stores: bounded redirects, bodies and times, retries of connects.

`storefront_check` decides what the answers mean.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import quote, urljoin, urlsplit

import aiohttp
from yarl import URL

from storefleet.runtimes.store_http import make_store_headers, open_store_session
from storefleet.runtimes.storefront_observation import PageAnswer

_REQUEST_TIMEOUT_S = 15
_MAX_PAGE_BYTES = 2 << 20
_MAX_REDIRECTS = 5
_MAX_CONNECTIONS = 100
_REDIRECT_STATUSES = (301, 302, 303, 307, 308)
#: Characters of a path and its query that are not encoded again.
_SAFE = "/?%:@!$&'()*+,;=-._~[]"
#: Until the nodes have the rules of a new Service, packets to it are dropped, and the kernel would
#: repeat a SYN only after a second. Several short attempts connect sooner.
_CONNECT_TIMEOUTS_S = (*([0.1] * 7), 2.0)


class PageTarget(NamedTuple):
    """Where and how a store's pages are requested.

    Attributes:
        server: Where to connect, `scheme://address:port`.
        host: The `Host` header: the store's host name, with the port if it has one.
        request_id: Sent as `X-Request-Id`.
        tls_server_name: The SNI name, for HTTPS. The certificate is not verified: the question is
            which server answers, not whether to trust it.
    """

    server: str
    host: str
    request_id: str
    tls_server_name: str | None = None

    def make_tls_options(self) -> dict[str, Any]:
        """Make the request options for HTTPS; none for HTTP."""
        if self.tls_server_name is None:
            return {}
        return {"ssl": False, "server_hostname": self.tls_server_name}

    def resolve_redirect(self, path: str, location: str) -> tuple[str, bool]:
        """Return path and query of a redirect, and whether it stays on the store's host."""
        target = urlsplit(urljoin(f"http://{self.host}{path}", location))
        is_own_host = target.hostname == urlsplit(f"http://{self.host}").hostname
        query = f"?{target.query}" if target.query else ""
        next_path = quote(f"{target.path or '/'}{query}", safe=_SAFE, errors="surrogateescape")
        return next_path, is_own_host


class PageClient:
    """Requests pages of stores."""

    def __init__(self, *, scheme: str = "http") -> None:
        """Create the client.

        Args:
            scheme: The scheme that customers use, sent as `X-Forwarded-Proto`.
        """
        self._scheme = scheme
        self._http: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def open_resources(self) -> AsyncIterator["PageClient"]:
        """Hold the HTTP client session until the context exits."""
        async with open_store_session(max_connections=_MAX_CONNECTIONS) as self._http:
            yield self

    async def request_page(
        self, target: PageTarget, path: str, *, max_redirects: int = _MAX_REDIRECTS
    ) -> PageAnswer:
        """Request a page once, with its redirects on the store's host.

        Cookies are kept from one redirect to the next only, for pages that test for cookies. The
        request takes at most 15 s.

        Args:
            target: Where and how to request it.
            path: Its path.
            max_redirects: Redirects to follow; with 0, a redirect is the answer.

        Returns:
            The answer; one with a `problem` if the store does not answer.
        """
        cookies: dict[str, str] = {}
        redirects = 0
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                while True:
                    status, body, location = await self._request_once(target, path, cookies)
                    is_redirected = bool(redirects)
                    if location is None or max_redirects == 0:
                        return PageAnswer(status, body, path, is_redirected)
                    next_path, is_own_host = target.resolve_redirect(path, location)
                    if not is_own_host:
                        return PageAnswer(status, body, next_path, is_redirected=True)
                    if redirects == max_redirects:
                        problem = f"redirects more than {max_redirects} times"
                        return PageAnswer(status, b"", next_path, True, problem)
                    path, redirects = next_path, redirects + 1
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return PageAnswer(problem=f"does not answer ({type(error).__name__})")

    async def _request_once(
        self, target: PageTarget, path: str, cookies: dict[str, str]
    ) -> tuple[int, bytes, str | None]:
        """Request a path; return status, body, and the location of a redirect."""
        headers = make_store_headers(
            host=target.host, scheme=self._scheme, request_id=target.request_id
        )
        if cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        async with self._open_response(
            URL(target.server + path, encoded=True),
            headers=headers,
            allow_redirects=False,
            **target.make_tls_options(),
        ) as response:
            location = response.headers.get("Location")
            if response.status not in _REDIRECT_STATUSES or not location:
                return response.status, await _read_page(response), None
            cookies.update({name: each.coded_value for name, each in response.cookies.items()})
            return response.status, b"", location

    @asynccontextmanager
    async def _open_response(
        self, url: URL, **request: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request, with several attempts to connect."""
        if self._http is None:
            raise RuntimeError("The page client is not open.")
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
