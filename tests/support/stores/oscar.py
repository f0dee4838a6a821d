"""Scripted purchases in an Oscar store by plain HTTP, and the order in the admin."""

import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

ADDRESS = {
    "first_name": "Grace",
    "last_name": "Guest",
    "line1": "1 Main Street",
    "line4": "Springfield",
    "state": "Illinois",
    "postcode": "62701",
    "country": "US",
}


class Visitor:
    """A client of the storefront: cookies, the Host header, the form's CSRF token."""

    def __init__(self, session: aiohttp.ClientSession, url: str, *, at: str | None = None) -> None:
        """Connect to `at` if it is given, else to the port of `url` on loopback."""
        parts = urlsplit(url)
        self._session = session
        self._base = at or f"http://127.0.0.1:{parts.port}"
        self._headers = {"Host": parts.netloc, "Origin": f"http://{parts.netloc}"}

    async def get(self, path: str) -> str:
        return await self._follow_redirects("GET", path)

    async def post(self, path: str, fields: dict[str, str], *, page: str) -> str:
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token is not None, page[:500]
        return await self._follow_redirects(
            "POST", path, data={**fields, "csrfmiddlewaretoken": token.group(1)}
        )

    async def request_status(self, path: str) -> int:
        target = URL(self._base + path, encoded=True)
        async with self._session.get(
            target, headers=self._headers, allow_redirects=False
        ) as response:
            return response.status

    async def _follow_redirects(self, method: str, path: str, **kwargs: Any) -> str:
        for _ in range(10):
            async with self._session.request(
                method,
                URL(self._base + path, encoded=True),
                headers=self._headers,
                allow_redirects=False,
                **kwargs,
            ) as response:
                body = await response.text()
                assert response.status < 400, f"{method} {path}: {response.status} {body[:300]}"
                if response.status < 300:
                    return body
                target = urlsplit(response.headers["Location"])
                method, path, kwargs = (
                    "GET",
                    target.path + (f"?{target.query}" if target.query else ""),
                    {},
                )
        raise AssertionError("redirected without end")


def _new_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))


@asynccontextmanager
async def visit(url: str, *, at: str | None = None) -> AsyncIterator[Visitor]:
    """A customer with a session of their own."""
    async with _new_session() as session:
        yield Visitor(session, url, at=at)


async def put_in_basket(visitor: Visitor, *, path: str = "/catalogue/", quantity: int = 1) -> str:
    """Put the first product of a page into the basket; return the page."""
    page = await visitor.get(path)
    add = re.search(r'action="(/basket/add/\d+/)"', page)
    assert add is not None
    await visitor.post(add.group(1), {"quantity": str(quantity)}, page=page)
    return page


async def fill_address(visitor: Visitor, address: dict[str, str] = ADDRESS) -> str:
    """As a guest with a basket, give an e-mail address and an address; return the next page."""
    page = await visitor.get("/checkout/")
    page = await visitor.post(
        "/checkout/", {"username": "guest@example.com", "options": "anonymous"}, page=page
    )
    return await visitor.post("/checkout/shipping-address/", address, page=page)


async def place_order(visitor: Visitor, preview: str) -> str:
    """Press the button of the preview with all fields of its form; return the next page."""
    form = re.search(r'<form[^>]*id="place_order_form".*?</form>', preview, re.DOTALL)
    assert form is not None, preview[:500]
    fields = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', form.group(0)))
    return await visitor.post("/checkout/preview/", fields, page=preview)


def find_order_number(page: str) -> str | None:
    """Return the number on a thank-you page; None on any other page."""
    number = re.search(r"order number is\s*<strong>(\d+)", page)
    return number and number.group(1)


async def buy_products(
    url: str,
    *,
    title: str,
    sign: str = "$",
    at: str | None = None,
    address: dict[str, str] = ADDRESS,
) -> str:
    """Buy two of the first product as a guest, cash on delivery; return the order's number."""
    async with visit(url, at=at) as visitor:
        assert title in html.unescape(await put_in_basket(visitor, quantity=2))
        assert "Cash on delivery" in await fill_address(visitor, address)
        page = await place_order(visitor, await visitor.get("/checkout/preview/"))
        number = find_order_number(page)
        assert number is not None
        assert sign in page
        return number


async def check_order(
    url: str, sign_in: dict[str, str], order: str, *, at: str | None = None
) -> None:
    """Sign in to the admin and check that it shows the order."""
    async with open_admin(url, sign_in, at=at) as visitor:
        page = await visitor.get(f"/dashboard/orders/{order}/")
        assert "Cash on delivery" in page
        assert "Grace" in page


async def has_order(
    url: str, sign_in: dict[str, str], order: str, *, at: str | None = None
) -> bool:
    """Sign in to the admin and return whether the order exists."""
    async with open_admin(url, sign_in, at=at) as visitor:
        return await visitor.request_status(f"/dashboard/orders/{order}/") == 200


@asynccontextmanager
async def open_admin(
    url: str, sign_in: dict[str, str], *, at: str | None = None
) -> AsyncIterator[Visitor]:
    """Sign in to Oscar's dashboard."""
    async with visit(url, at=at) as visitor:
        page = await visitor.get("/dashboard/login/")
        fields = {
            "username": sign_in["username"],
            "password": sign_in["password"],
            "next": "/dashboard/",
        }
        await visitor.post("/dashboard/login/", fields, page=page)
        yield visitor
