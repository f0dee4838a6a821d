"""A WooCommerce store as customers and its owner use it: Store API and admin, by plain HTTP."""

import html
import io
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


#: Addresses of countries whose forms differ: no postcode, no state, both, or another order.
COUNTRY_ADDRESSES = {
    address["country"]: {**ADDRESS, **address}
    for address in (
        {"country": "US", "state": "NY", "city": "New York", "postcode": "10001"},
        {"country": "DE", "state": "DE-BE", "city": "Berlin", "postcode": "10115"},
        {"country": "GB", "state": "", "city": "London", "postcode": "SW1A 1AA"},
        {"country": "IE", "state": "D", "city": "Dublin", "postcode": "D02 AF30"},
        {"country": "HK", "state": "KOWLOON", "city": "Mong Kok", "postcode": ""},
        {"country": "AE", "state": "", "city": "Dubai", "postcode": ""},
        {"country": "JP", "state": "JP13", "city": "Chiyoda", "postcode": "100-0001"},
        {"country": "BR", "state": "SP", "city": "São Paulo", "postcode": "01310-100"},
        {"country": "IN", "state": "MH", "city": "Mumbai", "postcode": "400001"},
        {"country": "NZ", "state": "WGN", "city": "Wellington", "postcode": "6011"},
    )
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

    async def fill_cart(self, slug: str = "stoneware-mug", *, quantity: int = 2) -> None:
        """Put a product into the cart of this session."""
        cart = await self.request("GET", f"{API}/cart")
        assert cart.status == 200, cart.text[:300]
        self._tokens = {"Cart-Token": cart.headers["Cart-Token"], "Nonce": cart.headers["Nonce"]}
        (product,) = (await self.request("GET", f"{API}/products?slug={slug}")).body
        added = await self.request(
            "POST", f"{API}/cart/add-item", json={"id": product["id"], "quantity": quantity}
        )
        assert added.status == 201, added.text[:300]
        assert added.body["items_count"] == quantity

    async def send_checkout(
        self, address: dict[str, str] = ADDRESS, email: str = "grace@example.com"
    ) -> Answer:
        """Send the checkout of this session's cart, with cash on delivery."""
        order = {
            "billing_address": {**address, "email": email},
            "shipping_address": address,
            "payment_method": "cod",
        }
        return await self.request("POST", f"{API}/checkout", json=order)

    async def buy_product(
        self,
        slug: str = "stoneware-mug",
        *,
        quantity: int = 2,
        address: dict[str, str] = ADDRESS,
        email: str = "grace@example.com",
    ) -> int:
        """Order as a guest with cash on delivery; return the order's number."""
        await self.fill_cart(slug, quantity=quantity)
        placed = await self.send_checkout(address, email)
        assert placed.status == 200, placed.text[:300]
        return await self.check_order(placed)

    async def check_order(self, placed: Answer) -> int:
        """Check the answer of a checkout and the page that it leads to; return the number."""
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

    async def call_admin_api(self, method: str, path: str, **kwargs: Any) -> Answer:
        """Send a request to the REST API, with the permissions of the user who is signed in."""
        nonce = await self.request("GET", "/wp-admin/admin-ajax.php?action=rest-nonce")
        headers = {"X-WP-Nonce": nonce.text, **kwargs.pop("headers", {})}
        return await self.request(method, f"/wp-json{path}", headers=headers, **kwargs)

    async def upload_picture(self, name: str, content: bytes) -> Answer:
        """Upload a PNG file as the admin's media library does."""
        form = aiohttp.FormData()
        form.add_field("file", io.BytesIO(content), filename=name, content_type="image/png")
        return await self.call_admin_api("POST", "/wp/v2/media", data=form)

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
