"""The owner of a WooCommerce store at work in wp-admin and its REST API."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from typing import Any

import aiohttp

from tests.support.stores.woocommerce import Answer, StoreVisit, open_admin_visit

PLUGIN = "/wp/v2/plugins/woocommerce/woocommerce"


class _Forms(HTMLParser):
    """Collect the fields of a page's forms as a browser would send them."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[dict[str, str]] = []
        self._select: str | None = None
        self._textarea: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append({})
        if not self.forms or "disabled" in found:
            return
        fields, name = self.forms[-1], found.get("name", "")
        if tag == "input" and name:
            kind = found.get("type", "text")
            if kind in ("checkbox", "radio") and "checked" not in found:
                return
            if kind not in ("submit", "button", "image", "file", "reset"):
                fields[name] = found.get("value", "on" if kind == "checkbox" else "")
        elif tag == "select":
            self._select = name
        elif (
            tag == "option" and self._select and ("selected" in found or self._select not in fields)
        ):
            fields[self._select] = found.get("value", "")
        elif tag == "textarea" and name:
            self._textarea = name
            fields[name] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = None
        elif tag == "textarea":
            self._textarea = None

    def handle_data(self, data: str) -> None:
        if self._textarea and self.forms:
            self.forms[-1][self._textarea] += data


class Owner:
    """A signed-in administrator."""

    def __init__(self, visit: StoreVisit, nonce: str) -> None:
        self.visit = visit
        self._nonce = nonce

    async def call(self, method: str, route: str, **fields: Any) -> Any:
        """Send a REST request with JSON and return the answer's body."""
        answer = await self.visit.request(
            method,
            f"/?rest_route={route}",  # works with every form of permalinks
            headers={"X-WP-Nonce": self._nonce},
            json=fields or None,
        )
        assert answer.status in (200, 201), (route, answer.status, answer.text[:500])
        return answer.body

    async def save_form(self, path: str, marker: str, **changes: str | None) -> None:
        """Send a form of the admin, found by a field, with changes; None clears a field."""
        page = await self.visit.request("GET", path)
        assert page.status == 200, (path, page.status)
        parser = _Forms()
        parser.feed(page.text)
        (fields, *_) = [form for form in parser.forms if marker in form]
        for name, value in changes.items():
            fields.pop(name, None)
            if value is not None:
                fields[name] = value
        target = path if "options-" not in path or "permalink" in path else "/wp-admin/options.php"
        answer = await self.visit.request("POST", target, data=fields)
        assert answer.status in (200, 302), (path, answer.status, answer.text[:300])

    async def find_page(self, slug: str) -> int:
        (page,) = await self.call("GET", f"/wp/v2/pages&slug={slug}&_fields=id")
        return int(page["id"])

    async def find_product(self, slug: str) -> int:
        (product,) = await self.call("GET", f"/wc/v3/products&slug={slug}&_fields=id")
        return int(product["id"])

    async def set_endpoint(self, name: str, value: str) -> None:
        """Change the address of a step of the checkout or the account."""
        await self.save_form(
            "/wp-admin/admin.php?page=wc-settings&tab=advanced",
            f"woocommerce_{name}_endpoint",
            **{f"woocommerce_{name}_endpoint": value, "save": "Save changes"},
        )

    async def set_order_tables(self, *, enabled: bool) -> None:
        """Choose WooCommerce's order tables or WordPress's posts; before there are orders."""
        await self.save_form(
            "/wp-admin/admin.php?page=wc-settings&tab=advanced&section=features",
            "woocommerce_custom_orders_table_enabled",
            woocommerce_custom_orders_table_enabled="yes" if enabled else "no",
            save="Save changes",
        )

    async def set_coming_soon(self, *, is_on: bool, pages_only: bool = False) -> None:
        """Close the store, or only its pages, with WooCommerce's own switch, or open it."""
        await self.call(
            "POST",
            "/wc-admin/options",
            woocommerce_coming_soon="yes" if is_on else "no",
            woocommerce_store_pages_only="yes" if pages_only else "no",
        )


@asynccontextmanager
async def open_owner_visit(url: str, at: str, credentials: dict[str, str]) -> AsyncIterator[Owner]:
    async with open_admin_visit(url, at, credentials) as visit:
        nonce = await visit.request("GET", "/wp-admin/admin-ajax.php?action=rest-nonce")
        assert re.fullmatch("[0-9a-f]{10}", nonce.text), nonce
        yield Owner(visit, nonce.text)


def list_products(count: int) -> Iterator[dict[str, Any]]:
    """Describe products of the owner's, which sort before the samples."""
    for number in range(count):
        yield {
            "name": f"A{number:02} of the owner",
            "slug": f"own-{number}",
            "regular_price": "7.50",
            "status": "publish",
            "menu_order": -100 + number,
        }


class PlainVisit(StoreVisit):
    """A visit that works with every form of permalinks, as the pages of the store do themselves."""

    async def request(self, method: str, path: str, **kwargs: Any) -> Answer:
        if path.startswith("/wp-json"):
            route, _, query = path.removeprefix("/wp-json").partition("?")
            path = f"/?rest_route={route}" + (f"&{query}" if query else "")
        return await super().request(method, path, **kwargs)


async def buy_as_guest(url: str, at: str, slug: str) -> int:
    """Order a product through the Store API, whatever permalinks the owner has chosen."""
    timeout = aiohttp.ClientTimeout(total=60)
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar, timeout=timeout) as session:
        return await PlainVisit(session, url, at).buy_product(slug)


async def sell_own_products(owner: Owner) -> None:
    """Replace the samples: 25 products before them, two of the samples deleted or renamed."""
    for product in list_products(25):
        await owner.call("POST", "/wc/v3/products", **product)
    mug = await owner.find_product("stoneware-mug")
    await owner.call("DELETE", f"/wc/v3/products/{mug}&force=true")
    lamp = await owner.find_product("brass-desk-lamp")
    await owner.call("PUT", f"/wc/v3/products/{lamp}", name="Lampe", slug="lampe")


async def rename_shop_page(owner: Owner) -> None:
    page = await owner.find_page("shop")
    await owner.call("POST", f"/wp/v2/pages/{page}", slug="store", title="Our store")


async def change_settings(owner: Owner) -> None:
    """Change what an owner may change in the settings of WordPress and WooCommerce."""
    await owner.set_endpoint("checkout_order_received", "thank-you")
    await owner.call("PUT", "/wc/v3/settings/general/woocommerce_currency", value="EUR")
    await owner.call("PUT", "/wc/v3/settings/general/woocommerce_calc_taxes", value="yes")
    await owner.call("PUT", "/wc/v3/payment_gateways/cod", title="Cash at the door")
    tax_class = (await owner.call("GET", "/wc/v3/taxes/classes"))[-1]["slug"]
    await owner.call("DELETE", f"/wc/v3/taxes/classes/{tax_class}&force=true")
    menu = await owner.call("POST", "/wp/v2/menus", name="Main", locations=["primary"])
    about = await owner.call(
        "POST", "/wp/v2/pages", title="About us", content="We make lamps.", status="publish"
    )
    await owner.call(
        "POST",
        "/wp/v2/menu-items",
        title="About",
        menus=menu["id"],
        object_id=about["id"],
        object="page",
        type="post_type",
        status="publish",
    )
    await owner.call(
        "POST",
        "/wp/v2/settings",
        title="Nora’s 🛍 lamps",  # noqa: RUF001 - an owner's apostrophe
        description="",
        email="nora@example.org",
        timezone="Europe/Berlin",
        show_on_front="page",
        page_on_front=about["id"],
    )
    await owner.call("DELETE", f"/wp/v2/pages/{await owner.find_page('store')}")
    await owner.save_form(
        "/wp-admin/options-permalink.php",
        "permalink_structure",
        permalink_structure="",
        selection="",
    )


async def replace_administrator(owner: Owner, url: str, at: str) -> dict[str, str]:
    """Create an administrator of the owner's own, delete the platform's; return the credentials."""
    credentials = {"username": "nora", "password": "a long pass phrase 7"}
    nora = await owner.call(
        "POST", "/wp/v2/users", **credentials, email="nora@example.org", roles=["administrator"]
    )
    first = (await owner.call("GET", "/wp/v2/users/me"))["id"]
    async with open_owner_visit(url, at, credentials) as own:
        await own.call("DELETE", f"/wp/v2/users/{first}&force=true&reassign={nora['id']}")
    return credentials
