"""A WooCommerce store as customers and its owner use it: Store API and admin, by plain HTTP."""

import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

API = "/wp-json/wc/store/v1"
HEALTH = "/storefleet/health"
ADDRESS = {
    "first_name": "Grace",
    "last_name": "Guest",
    "company": "",
    "address_1": "1 Main Street",
    "address_2": "",
    "city": "Springfield",
    "state": "IL",
    "postcode": "62701",
    "country": "US",
    "phone": "",
}


class Answer(NamedTuple):
    status: int
    text: str
    headers: dict[str, str]
    body: Any


class StoreVisit:
    """A session with its own cookies, under the store's host name at its Service's address."""

    def __init__(self, session: aiohttp.ClientSession, url: str, at: str) -> None:
        self._session = session
        self._at = at
        self._host = urlsplit(url).netloc
        self._tokens: dict[str, str] = {}

    async def request(self, method: str, path: str, **kwargs: Any) -> Answer:
        """Send one request without following redirects."""
        headers = {"Host": self._host, **self._tokens, **kwargs.pop("headers", {})}
        url = URL(self._at + path, encoded=True)
        async with self._session.request(
            method, url, headers=headers, allow_redirects=False, **kwargs
        ) as response:
            text = await response.text(errors="replace")
            body = await response.json() if "json" in response.content_type else None
            return Answer(response.status, text, dict(response.headers), body)

    async def buy_product(self, slug: str = "stoneware-mug", *, quantity: int = 2) -> int:
        """Order as a guest with cash on delivery; return the order's number."""
        cart = await self.request("GET", f"{API}/cart")
        assert cart.status == 200, cart.text[:300]
        self._tokens = {"Cart-Token": cart.headers["Cart-Token"], "Nonce": cart.headers["Nonce"]}
        (product,) = (await self.request("GET", f"{API}/products?slug={slug}")).body
        added = await self.request(
            "POST", f"{API}/cart/add-item", json={"id": product["id"], "quantity": quantity}
        )
        assert added.status == 201, added.text[:300]
        assert added.body["items_count"] == quantity
        order = {
            "billing_address": {**ADDRESS, "email": "grace@example.com"},
            "shipping_address": ADDRESS,
            "payment_method": "cod",
        }
        placed = await self.request("POST", f"{API}/checkout", json=order)
        assert placed.status == 200, placed.text[:300]
        assert (placed.body["status"], placed.body["payment_result"]["payment_status"]) == (
            "processing",
            "success",
        )
        self._tokens = {}
        thanks = urlsplit(placed.body["payment_result"]["redirect_url"])
        page = await self.request("GET", f"{thanks.path}?{thanks.query}")
        assert page.status == 200, thanks
        assert f"{placed.body['order_id']}" in page.text
        return int(placed.body["order_id"])

    async def sign_in(self, username: str, password: str) -> None:
        page = await self.request("GET", "/wp-login.php")
        assert 'name="loginform"' in page.text
        fields = {"log": username, "pwd": password, "testcookie": "1", "redirect_to": "/wp-admin/"}
        answer = await self.request("POST", "/wp-login.php", data=fields)
        assert answer.status == 302, re.sub(r"<[^>]+>", " ", answer.text)[:500]

    async def read_orders_page(self) -> str:
        """Return the text of the admin's list of orders."""
        page = await self.request("GET", "/wp-admin/admin.php?page=wc-orders")
        assert page.status == 200, page.headers
        return html.unescape(re.sub(r"<[^>]+>", " ", page.text))

    async def has_order(self, order: int) -> bool:
        return re.search(rf"#{order}\s+Grace Guest", await self.read_orders_page()) is not None


@asynccontextmanager
async def open_visit(url: str, at: str) -> AsyncIterator[StoreVisit]:
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.CookieJar(unsafe=True), timeout=timeout
    ) as session:
        yield StoreVisit(session, url, at)


async def buy_product(url: str, at: str) -> int:
    async with open_visit(url, at) as shop:
        return await shop.buy_product()


@asynccontextmanager
async def open_admin_visit(
    url: str, at: str, credentials: dict[str, str]
) -> AsyncIterator[StoreVisit]:
    """Open a session and sign in as the store's administrator."""
    async with open_visit(url, at) as shop:
        await shop.sign_in(credentials["username"], credentials["password"])
        yield shop
