"""Scripted purchases in a Medusa store, by forms and by the Store API, and the admin's orders."""

import html
import re
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

PERSON = {
    "first_name": "Grace",
    "last_name": "Guest",
    "address_1": "1 Main Street",
    "city": "Springfield",
}
BUYER = {**PERSON, "postal_code": "62701", "country_code": "us"}
EMAIL = "grace@example.com"
CASH = "pp_system_default"


class Browser:
    """A client of the storefront: cookies, the Host header, redirects; no JavaScript."""

    def __init__(self, session: aiohttp.ClientSession, url: str, *, at: str) -> None:
        self._session = session
        self._at = at
        authority = urlsplit(url).netloc
        self._headers = {"Host": authority, "Origin": f"http://{authority}"}

    async def get(self, path: str) -> str:
        return await self._follow_redirects("GET", path)

    async def post(self, path: str, **fields: str) -> str:
        return await self._follow_redirects("POST", path, data=fields)

    async def _follow_redirects(self, method: str, path: str, **kwargs: Any) -> str:
        for _ in range(5):
            target = URL(self._at + path, encoded=True)
            async with self._session.request(
                method, target, headers=self._headers, allow_redirects=False, **kwargs
            ) as response:
                body = await response.text()
                assert response.status < 400, f"{method} {path}: {response.status} {body[:500]}"
                if response.status < 300:
                    return body
                method, path, kwargs = "GET", response.headers["Location"], {}
        raise AssertionError("redirected without end")


class Api:
    """A JSON client under the store's host name."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, *, at: str, headers: dict[str, str]
    ) -> None:
        self._session = session
        self._at = at
        self.headers = {"Host": urlsplit(url).netloc, **headers}

    async def request(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        target = URL(self._at + path, encoded=True)
        async with self._session.request(
            method, target, headers=self.headers, json=body
        ) as response:
            text = await response.text()
            assert response.status < 300, f"{method} {path}: {response.status} {text[:500]}"
            return dict(await response.json())

    async def request_status(self, method: str, path: str) -> int:
        return await self.send(method, path, None)

    async def send(self, method: str, path: str, body: dict[str, Any] | None) -> int:
        """Send a request whose answer may have no body; return its status."""
        async with self._session.request(
            method, URL(self._at + path, encoded=True), headers=self.headers, json=body
        ) as response:
            return response.status


def open_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))


def find_text(pattern: str, page: str) -> str:
    found = re.search(pattern, page)
    assert found is not None, f"{pattern} is not in {page[:2000]}"
    return html.unescape(found.group(1))


async def read_publishable_key(url: str, *, at: str) -> str:
    """Read the publishable key from the storefront's page."""
    async with open_session() as http:
        return find_text(
            r'name="publishable-key" content="(pk_[0-9a-f]{64})"',
            await Browser(http, url, at=at).get("/"),
        )


async def buy_by_forms(url: str, *, title: str, at: str, quantity: int = 2) -> str:
    """Buy a product's first variant by forms, with cash on delivery; return the order's number."""
    async with open_session() as http:
        browser = Browser(http, url, at=at)
        page = await browser.get("/")
        assert title in html.unescape(page)
        page = await browser.get(find_text(r'href="(/products/stoneware-mug)"', page))
        variant = find_text(r'name="variant" value="(variant_\w+)" required checked', page)
        page = await browser.post(
            "/cart", handle="stoneware-mug", variant=variant, quantity=str(quantity)
        )
        assert "Stoneware Mug" in page
        page = await browser.get("/checkout")
        assert "Cash on delivery" in page
        delivery = find_text(r'name="delivery" value="(so_\w+)" required checked', page)
        page = await browser.post(
            "/checkout", email=EMAIL, delivery=delivery, payment="cod", **BUYER
        )
        assert "Thank you, Grace!" in page
        assert "Cash on delivery" in page
        assert "Your cart is empty" in await browser.get("/cart"), (
            "the cart is empty after the purchase"
        )
        return find_text(r'order number is <strong class="number">(\d+)<', page)


async def buy_by_api(url: str, *, at: str) -> str:
    """Buy by the Store API, like another front end; return the order's number."""
    key = {"x-publishable-api-key": await read_publishable_key(url, at=at)}
    async with open_session() as http:
        api = Api(http, url, at=at, headers=key)
        region = (await api.request("GET", "/store/regions"))["regions"][0]["id"]
        product = (await api.request("GET", "/store/products?handle=desk-lamp"))["products"][0]
        cart = (await api.request("POST", "/store/carts", {"region_id": region}))["cart"]["id"]
        line = {"variant_id": product["variants"][0]["id"], "quantity": 1}
        await api.request("POST", f"/store/carts/{cart}/line-items", line)
        buyer = {"email": EMAIL, "shipping_address": BUYER, "billing_address": BUYER}
        await api.request("POST", f"/store/carts/{cart}", buyer)
        options = (await api.request("GET", f"/store/shipping-options?cart_id={cart}"))[
            "shipping_options"
        ]
        await api.request(
            "POST", f"/store/carts/{cart}/shipping-methods", {"option_id": options[0]["id"]}
        )
        payment = (await api.request("POST", "/store/payment-collections", {"cart_id": cart}))[
            "payment_collection"
        ]["id"]
        await api.request(
            "POST", f"/store/payment-collections/{payment}/payment-sessions", {"provider_id": CASH}
        )
        done = await api.request("POST", f"/store/carts/{cart}/complete")
        assert done["type"] == "order", done
        return str(done["order"]["display_id"])


async def list_orders(url: str, sign_in: dict[str, str], *, at: str) -> dict[str, dict[str, Any]]:
    """Return every order by its number, from the admin's API."""
    async with open_session() as http:
        body = {"email": sign_in["username"], "password": sign_in["password"]}
        token = (
            await Api(http, url, at=at, headers={}).request("POST", "/auth/user/emailpass", body)
        )["token"]
        api = Api(http, url, at=at, headers={"Authorization": f"Bearer {token}"})
        # Like the admin's pages, use a session cookie, which must also work over plain HTTP.
        await api.request("POST", "/auth/session")
        assert (await Api(http, url, at=at, headers={}).request("GET", "/admin/users/me"))["user"][
            "email"
        ] == body["email"]
        found = (
            await api.request(
                "GET", "/admin/orders?limit=50&fields=display_id,email,total,payment_status"
            )
        )["orders"]
        return {str(order["display_id"]): order for order in found}
