"""What the owner of a Medusa store does in the admin, by its API, and what the store shows then."""

import asyncio
import io
import re
import time
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp

from tests.support.stores.medusa import Api, Browser, find_text, open_session

#: The address of a buyer in each of these countries; some have no postal codes or no cities.
ADDRESSES = {
    "us": {"city": "Springfield", "province": "IL", "postal_code": "62701"},
    "de": {"city": "Leipzig", "postal_code": "04109"},
    "gb": {"city": "London", "postal_code": "SW1A 1AA"},
    "ie": {"city": "Cork", "province": "County Cork"},
    "hk": {"city": "Mong Kok", "province": "Kowloon"},
    "ae": {"province": "Dubai"},
    "jp": {"province": "Tokyo", "city": "Chiyoda-ku", "postal_code": "100-0001"},
    "br": {"city": "São Paulo", "province": "SP", "postal_code": "01310-100"},
    "in": {"city": "Mumbai", "province": "Maharashtra", "postal_code": "400001"},
    "nz": {"city": "Wellington", "postal_code": "6011"},
}
PERSON = {"first_name": "Zoë", "last_name": "Guest", "address_1": "1 Main Street"}


class Owner:
    """A user of the admin with a session token."""

    def __init__(self, http: aiohttp.ClientSession, url: str, *, at: str, token: str) -> None:
        self.http, self.url, self.at = http, url, at
        headers = {"Authorization": f"Bearer {token}"}
        self.api = Api(http, url, at=at, headers=headers)

    async def get(self, path: str) -> dict[str, Any]:
        return await self.api.request("GET", path)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self.api.request("POST", path, body)

    async def delete(self, path: str) -> None:
        await self.api.request("DELETE", path)

    async def upload(self, name: str, content: bytes, *, kind: str = "image/png") -> Any:
        """Upload a file like the admin's pages; return the status and the answer."""
        form = aiohttp.FormData()
        form.add_field("files", io.BytesIO(content), filename=name, content_type=kind)
        async with self.http.post(
            self.at + "/admin/uploads", data=form, headers=self.api.headers
        ) as response:
            return response.status, await response.json()


async def sign_in(http: aiohttp.ClientSession, url: str, *, at: str, **body: str) -> Owner:
    """Sign in with `email` and `password`."""
    answer = await Api(http, url, at=at, headers={}).request("POST", "/auth/user/emailpass", body)
    return Owner(http, url, at=at, token=answer["token"])


async def change_everything(owner: Owner, *, products: int = 40) -> dict[str, Any]:
    """Change all that a new store came with; return the settings that must stay."""
    (store,) = (await owner.get("/admin/stores"))["stores"]
    await owner.post(f"/admin/stores/{store['id']}", {"name": "Zoë's “Café” 🛍"})
    channel = (await owner.get("/admin/sales-channels"))["sales_channels"][0]
    await owner.post(f"/admin/sales-channels/{channel['id']}", {"name": "Renamed channel"})
    await replace_key(owner, channel["id"])
    region = await replace_region(owner, store["id"])
    await change_delivery(owner)
    profile = (await owner.get("/admin/shipping-profiles"))["shipping_profiles"][0]["id"]
    for product in (await owner.get("/admin/products?limit=100"))["products"]:
        await remove_product(owner, product["id"])
    for number in range(products):
        await create_product(owner, number, channel=channel["id"], profile=profile)
    return await read_settings(owner) | {"region": region}


async def remove_product(owner: Owner, product: str) -> None:
    """Delete a product, or make it a draft if it is in an open order, which Medusa protects."""
    path = f"/admin/products/{product}"
    if await owner.api.request_status("DELETE", path) != HTTPStatus.OK:
        await owner.post(path, {"status": "draft"})


async def replace_key(owner: Owner, channel: str) -> None:
    """Revoke the publishable key and create another."""
    for key in (await owner.get("/admin/api-keys?type=publishable"))["api_keys"]:
        await owner.post(f"/admin/api-keys/{key['id']}/revoke", {})
    body = {"title": "Second key", "type": "publishable"}
    key = (await owner.post("/admin/api-keys", body))["api_key"]["id"]
    await owner.post(f"/admin/api-keys/{key}/sales-channels", {"add": [channel]})


async def replace_region(owner: Owner, store: str) -> str:
    """Delete the default region and create another with some of its countries."""
    for region in (await owner.get("/admin/regions"))["regions"]:
        await owner.delete(f"/admin/regions/{region['id']}")
    body = {
        "name": "Second region",
        "currency_code": "gbp",
        "countries": [*ADDRESSES, "sg", "at"],
        "payment_providers": ["pp_system_default"],
    }
    region = str((await owner.post("/admin/regions", body))["region"]["id"])
    await owner.post(f"/admin/stores/{store}", {"default_region_id": region})
    return region


async def change_delivery(owner: Owner) -> None:
    """Rename the place and one way of delivery, make it dearer, and delete the other."""
    (place,) = (await owner.get("/admin/stock-locations"))["stock_locations"]
    await owner.post(f"/admin/stock-locations/{place['id']}", {"name": "Second place"})
    options = (await owner.get("/admin/shipping-options"))["shipping_options"]
    first, second = sorted(options, key=lambda option: option["name"] != "Standard delivery")
    await owner.delete(f"/admin/shipping-options/{second['id']}")
    prices = [{"currency_code": "gbp", "amount": 7.5}]
    body = {"name": "By bicycle", "prices": prices}
    await owner.post(f"/admin/shipping-options/{first['id']}", body)


async def create_product(
    owner: Owner, number: int, *, channel: str, profile: str, **more: Any
) -> dict[str, Any]:
    """Create a product with one variant without stock management."""
    variant = {
        "title": "Standard",
        "manage_inventory": False,
        "options": {"Kind": "Standard"},
        "prices": [{"currency_code": "gbp", "amount": 10 + number}],
    }
    body = {
        "title": f"Thing {number}",
        "handle": f"thing-{number}",
        "status": "published",
        "options": [{"title": "Kind", "values": ["Standard"]}],
        "variants": [variant],
        "sales_channels": [{"id": channel}],
        "shipping_profile_id": profile,
        **more,
    }
    return dict((await owner.post("/admin/products", body))["product"])


async def read_settings(owner: Owner) -> dict[str, Any]:
    """Read what an owner can set, without times."""
    fields = "id,name,default_region_id,default_sales_channel_id,*supported_currencies,metadata"
    queries = {
        "stores": f"/admin/stores?fields={fields}",
        "sales_channels": "/admin/sales-channels?fields=id,name,is_disabled",
        "api_keys": "/admin/api-keys?fields=id,title,redacted,revoked_at",
        "regions": "/admin/regions?fields=id,name,currency_code",
        "stock_locations": "/admin/stock-locations?fields=id,name",
        "shipping_options": "/admin/shipping-options?fields=id,name,*prices",
        "products": "/admin/products?limit=200&fields=id,title,status,handle&order=id",
        "users": "/admin/users?fields=id,email",
        "product_categories": "/admin/product-categories?fields=id,name",
    }
    found = {name: (await owner.get(query))[name] for name, query in queries.items()}
    return _drop_times(found)


def _drop_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _drop_times(each)
            for key, each in sorted(value.items())
            if not key.endswith("_at") or key == "revoked_at"
        }
    if isinstance(value, list):
        return [_drop_times(each) for each in value]
    return value


async def list_products(url: str, *, at: str) -> list[str]:
    """Follow the storefront's pages; return the address of each product once per appearance."""
    found: list[str] = []
    path: str | None = "/"
    async with open_session() as http:
        browser = Browser(http, url, at=at)
        while path and len(found) < 1000:
            page = await browser.get(path)
            found += re.findall(r'href="(/products/[^"]+)"', page)
            following = re.search(r'href="([^"]+)" rel="next"', page)
            path = following.group(1).replace("&amp;", "&") if following else None
    return found


async def fill_cart(browser: Browser, handle: str) -> str:
    """Put one piece of a product into the cart; return the checkout page."""
    page = await browser.get(f"/products/{handle}")
    variant = find_text(r'name="variant" value="(variant_\w+)"', page)
    await browser.post("/cart", handle=handle, variant=variant, quantity="1")
    return await browser.get("/checkout")


def fill_form(page: str, country: str) -> dict[str, str]:
    """Fill in the checkout form for a buyer of a country."""
    form = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page))
    delivery = find_text(r'name="delivery" value="(so_\w+)" required checked', page)
    address = {"postal_code": "", "city": "", "province": "", **ADDRESSES[country]}
    who = {"email": "zoe@example.com", **PERSON, "country_code": country}
    return {**form, "delivery": delivery, "payment": "cod", **who, **address}


async def buy_twice_at_once(url: str, *, at: str, handle: str, country: str) -> tuple[str, str]:
    """Order with two clicks at once; return the order's number and its total as confirmed."""
    async with open_session() as http:
        browser = Browser(http, url, at=at)
        page = await fill_cart(browser, handle)
        form = fill_form(page, country)
        confirmed = form[f"total-{form['delivery']}"]
        shown = await asyncio.gather(*(browser.post("/checkout", **form) for _ in range(2)))
        shown += [await browser.post("/checkout", **form)]  # after “back”, without the cookie
        numbers = {
            find_text(r'order number is <strong class="number">(\d+)<', page) for page in shown
        }
        assert len(numbers) == 1, f"{country}: {numbers}"
        assert not re.search("e-?mail", shown[0], re.IGNORECASE), "no promise of an e-mail"
        total = find_text(r"<dt>Total</dt><dd>\D*([\d.,]+)</dd>", shown[0])
        assert float(total) == float(confirmed), (country, total, confirmed)
        for part in ADDRESSES[country].values():
            assert part in shown[0], f"{part} of the address is not on the page"
        return numbers.pop(), total


def read_token(mail: dict[str, Any]) -> str:
    """Return the token in the link of a mail."""
    link = find_text(r": (https?://\S+token=\S+)", mail["text"])
    return parse_qs(urlsplit(link).query)["token"][0]


def make_picture(size_bytes: int) -> bytes:
    """Make a PNG of a size: a small picture, and a private chunk that viewers skip."""
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    pixels = zlib.compress(b"".join(b"\0" + b"\x20\x60\xa0" * 8 for _ in range(8)))
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    end = chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    filling = time.time_ns().to_bytes(8, "big") * ((size_bytes - len(start + end)) // 8)
    return start + chunk(b"prVt", filling) + end
