"""How the platform's HTTP clients talk to stores: sessions and headers.

Storefront checks, cron calls and the reading of mails use it. A store belongs to its owner and is
not trusted: every client adds its own limits of time and size.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp


@asynccontextmanager
async def open_store_session(
    *, max_connections: int = 0, auto_decompress: bool = True
) -> AsyncIterator[aiohttp.ClientSession]:
    """Hold a client session that keeps no cookies and no connections.

    A kept connection would delay the shutdown of a store's web server.

    Args:
        max_connections: How many connections may be open at once; 0 for no limit.
        auto_decompress: Whether compressed answers are unpacked.

    Yields:
        The session, until the context exits.
    """
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True, limit=max_connections),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=auto_decompress,
    ) as session:
        yield session


def make_store_headers(*, host: str, scheme: str, request_id: str | None = None) -> dict[str, str]:
    """Make the headers of a request to a store under its own host name.

    Args:
        host: The store's host name, with the port if it has one.
        scheme: The scheme that customers use.
        request_id: The id for the store's log, if the request has one.
    """
    headers = {"Host": host, "User-Agent": "Storefleet", "X-Forwarded-Proto": scheme}
    return headers | ({"X-Request-Id": request_id} if request_id else {})
