"""Purchases in a Medusa shop as scripts make them, by the storefront's forms and by the Store API; the admin's view."""

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
    """No screen and no script: cookies, the Host header, redirects."""

    def __init__(self, session: aiohttp.ClientSession, url: str, *, at: str) -> None:
        self._session = session
        self._at = at
        authority = urlsplit(url).netloc
        self._headers = {"Host": authority, "Origin": f"http://{authority}"}

    async def get(self, path: str) -> str:
        return await self._ask("GET", path)

    async def post(self, path: str, **fields: str) -> str:
        return await self._ask("POST", path, data=fields)

    async def _ask(self, method: str, path: str, **kwargs: Any) -> str:
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
    """JSON over HTTP under the shop's host name."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, *, at: str, headers: dict[str, str]
    ) -> None:
        self._session = session
        self._at = at
        self._headers = {"Host": urlsplit(url).netloc, **headers}

    async def ask(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        target = URL(self._at + path, encoded=True)
        async with self._session.request(
            method, target, headers=self._headers, json=body
        ) as response:
            text = await response.text()
            assert response.status < 300, f"{method} {path}: {response.status} {text[:500]}"
            return dict(await response.json())

    async def status(self, method: str, path: str) -> int:
        async with self._session.request(
            method, URL(self._at + path, encoded=True), headers=self._headers
        ) as response:
            return response.status


def session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))


def one(pattern: str, page: str) -> str:
    found = re.search(pattern, page)
    assert found is not None, f"{pattern} is not in {page[:2000]}"
    return html.unescape(found.group(1))


async def key_of(url: str, *, at: str) -> str:
    """The publishable key, as every page shows it."""
    async with session() as http:
        return one(
            r'name="publishable-key" content="(pk_[0-9a-f]{64})"',
            await Browser(http, url, at=at).get("/"),
        )


async def buy_by_forms(url: str, *, title: str, at: str, quantity: int = 2) -> str:
    """Some of the first kind of a product, cash on delivery; the order's number."""
    async with session() as http:
        browser = Browser(http, url, at=at)
        page = await browser.get("/")
        assert title in page
        page = await browser.get(one(r'href="(/products/stoneware-mug)"', page))
        variant = one(r'name="variant" value="(variant_\w+)" required checked', page)
        page = await browser.post(
            "/cart", handle="stoneware-mug", variant=variant, quantity=str(quantity)
        )
        assert "Stoneware Mug" in page
        page = await browser.get("/checkout")
        assert "Cash on delivery" in page
        delivery = one(r'name="delivery" value="(so_\w+)" required checked', page)
        page = await browser.post(
            "/checkout", email=EMAIL, delivery=delivery, payment="cod", **BUYER
        )
        assert "Thank you, Grace!" in page
        assert "Cash on delivery" in page
        assert "Your cart is empty" in await browser.get("/cart"), (
            "a cart that was bought is a new one"
        )
        return one(r'order number is <strong class="number">(\d+)<', page)


async def buy_by_api(url: str, *, at: str) -> str:
    """As a front end of somebody else's would; the order's number."""
    key = {"x-publishable-api-key": await key_of(url, at=at)}
    async with session() as http:
        api = Api(http, url, at=at, headers=key)
        region = (await api.ask("GET", "/store/regions"))["regions"][0]["id"]
        product = (await api.ask("GET", "/store/products?handle=desk-lamp"))["products"][0]
        cart = (await api.ask("POST", "/store/carts", {"region_id": region}))["cart"]["id"]
        line = {"variant_id": product["variants"][0]["id"], "quantity": 1}
        await api.ask("POST", f"/store/carts/{cart}/line-items", line)
        buyer = {"email": EMAIL, "shipping_address": BUYER, "billing_address": BUYER}
        await api.ask("POST", f"/store/carts/{cart}", buyer)
        options = (await api.ask("GET", f"/store/shipping-options?cart_id={cart}"))[
            "shipping_options"
        ]
        await api.ask(
            "POST", f"/store/carts/{cart}/shipping-methods", {"option_id": options[0]["id"]}
        )
        payment = (await api.ask("POST", "/store/payment-collections", {"cart_id": cart}))[
            "payment_collection"
        ]["id"]
        await api.ask(
            "POST", f"/store/payment-collections/{payment}/payment-sessions", {"provider_id": CASH}
        )
        done = await api.ask("POST", f"/store/carts/{cart}/complete")
        assert done["type"] == "order", done
        return str(done["order"]["display_id"])


async def orders_of(url: str, sign_in: dict[str, str], *, at: str) -> dict[str, dict[str, Any]]:
    """Every order by its number, as the signed-in administrator sees them."""
    async with session() as http:
        body = {"email": sign_in["username"], "password": sign_in["password"]}
        token = (await Api(http, url, at=at, headers={}).ask("POST", "/auth/user/emailpass", body))[
            "token"
        ]
        api = Api(http, url, at=at, headers={"Authorization": f"Bearer {token}"})
        # What the admin's pages do: a session, by a cookie that has to come over plain HTTP, too.
        await api.ask("POST", "/auth/session")
        assert (await Api(http, url, at=at, headers={}).ask("GET", "/admin/users/me"))["user"][
            "email"
        ] == body["email"]
        found = (
            await api.ask(
                "GET", "/admin/orders?limit=50&fields=display_id,email,total,payment_status"
            )
        )["orders"]
        return {str(order["display_id"]): order for order in found}
