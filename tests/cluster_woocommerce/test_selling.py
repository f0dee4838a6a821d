"""A WooCommerce store sells: ten countries, repeated checkouts, products, pictures, mail."""

import asyncio
import base64
import hashlib
import json
import random
import re
import secrets
import struct
import zlib
from collections.abc import Iterator

from tests.cluster_woocommerce.store import Store
from tests.support.stores.mail import find_mail
from tests.support.stores.woocommerce import (
    API,
    COUNTRY_ADDRESSES,
    Answer,
    StoreVisit,
    buy_product,
    open_admin_visit,
    open_visit,
)

PRODUCTS = 40
#: PHP that holds a cart's lock until it is killed.
_HOLD_LOCK = """
require '/opt/storefleet/shop/lib/configuration.php';
require '/opt/storefleet/shop/lib/database.php';
$database = Storefleet\\Database::connect( Storefleet\\Configuration::load() );
echo $database->fetch_number( 'SELECT GET_LOCK(?, 0)', [ $argv[1] ] ), "\\n";
sleep( 60 );
"""


async def read_mail_key(store: Store) -> str:
    path = "jsonpath={.data.mail-key}"
    return base64.b64decode(
        await store.kubectl("get", "secret", "store-secrets", "-o", path)
    ).decode()


async def read_mail(shop: StoreVisit, path: str, key: str) -> Answer:
    headers = {"Authorization": f"Bearer {key}"}
    return await shop.request("GET", f"/storefleet/mail{path}", headers=headers)


def make_picture(width: int, height: int) -> bytes:
    """Make a PNG file of random pixels, which cannot be compressed."""
    noise = random.Random(1)

    def list_chunks() -> Iterator[bytes]:
        rows = b"".join(b"\0" + noise.randbytes(3 * width) for _ in range(height))
        for name, data in {
            b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0),
            b"IDAT": zlib.compress(rows, 0),
            b"IEND": b"",
        }.items():
            yield struct.pack(">I", len(data)) + name + data
            yield struct.pack(">I", zlib.crc32(name + data))

    return b"\x89PNG\r\n\x1a\n" + b"".join(list_chunks())


async def test_ten_countries_buy_and_mails_are_kept(store: Store) -> None:
    async def buy(country: str, address: dict[str, str]) -> tuple[str, int]:
        async with open_visit(store.url, store.at) as shop:
            email = f"{country.lower()}@example.com"
            return email, await shop.buy_product(address=address, email=email)

    orders: dict[str, int] = {}
    for first in range(0, len(COUNTRY_ADDRESSES), 2):
        pair = list(COUNTRY_ADDRESSES.items())[first : first + 2]
        orders.update(await asyncio.gather(*(buy(*each) for each in pair)))
    assert len(set(orders.values())) == 10

    through_platform = await find_mail(store.api, store.id, to="br@example.com")
    assert "São Paulo" in through_platform["html"]
    key = await read_mail_key(store)
    async with open_visit(store.url, store.at) as shop:
        page = await read_mail(shop, "?limit=20", key)
        assert page.status == 200
        assert page.headers["Cache-Control"] == "no-store"
        mails = {mail["to"][0]: mail for mail in page.body["data"]}
        assert orders.keys() <= mails.keys()
        mail = (await read_mail(shop, f"/{mails['br@example.com']['id']}", key)).body
        assert "São Paulo" in mail["html"]
        assert str(orders["br@example.com"]) in mail["html"]
        assert mail["truncated"] is False
        older = await read_mail(shop, f"?limit=1&before={page.body['data'][0]['id']}", key)
        assert older.body == {"data": [page.body["data"][1]], "has_more": True}
        unknown = await shop.request("GET", "/storefleet/other")
        for path, wrong in (("", "wrong"), ("?limit=1", ""), (f"/{mail['id']}", key[:-1])):
            refused = await read_mail(shop, path, wrong)
            assert (refused.status, refused.text) == (404, unknown.text), path


async def test_pages_promise_no_mail_and_admin_is_told(store: Store) -> None:
    promise = re.compile(r"(sent to your|check your e-?mail|your inbox|via email)", re.IGNORECASE)
    async with open_visit(store.url, store.at) as shop:
        for path in (
            "/my-account/",
            "/my-account/lost-password/",
            "/my-account/lost-password/?reset-link-sent=true",
            "/wp-login.php?action=lostpassword",
            "/wp-login.php?checkemail=confirm",
        ):
            page = await shop.request("GET", path)
            assert page.status == 200, path
            assert promise.findall(page.text) == [], path
    async with open_admin_visit(store.url, store.at, await store.read_credentials()) as admin:
        for path in ("", "users.php", "admin.php?page=wc-orders"):
            page = await admin.request("GET", f"/wp-admin/{path}")
            assert "This store does not send e-mail yet." in page.text, path
        for path in ("plugin-install.php", "theme-install.php", "update-core.php"):
            page = await admin.request("GET", f"/wp-admin/{path}")
            assert "The platform manages the plugins and themes" in page.text, path


async def test_concurrent_checkouts_of_a_cart_place_one_order(store: Store) -> None:
    for count in (2, 3, 10):
        before = await count_orders(store)
        async with open_visit(store.url, store.at) as shop:
            await shop.fill_cart()
            answers = await asyncio.gather(*(shop.send_checkout() for _ in range(count)))
            late = await shop.send_checkout()
            assert {answer.status for answer in [*answers, late]} == {200}
            assert len({answer.text for answer in [*answers, late]}) == 1
            await shop.check_order(late)
            assert (await shop.request("GET", f"{API}/cart")).body["items_count"] == 0
            await shop.buy_product()
        assert await count_orders(store) == before + 2, count


async def count_orders(store: Store) -> int:
    return await store.query_number(
        "SELECT COUNT(*) FROM wp_wc_orders WHERE status NOT LIKE '%draft%'"
    )


async def test_classic_checkout_sent_twice_places_one_order(store: Store) -> None:
    title = f"Classic {secrets.token_hex(4)}"
    page = {"title": title, "content": "[woocommerce_checkout]", "status": "publish"}
    async with open_admin_visit(store.url, store.at, await store.read_credentials()) as admin:
        made = await admin.call_admin_api("POST", "/wp/v2/pages", json=page)
        assert made.status == 201, made.text[:300]
    path = f"/{made.body['slug']}/"
    for field, target in (("payment_method", "/?wc-ajax=checkout"), ("place_order", path)):
        async with open_visit(store.url, store.at) as shop:
            (mug,) = (await shop.request("GET", f"{API}/products?slug=stoneware-mug")).body
            await shop.request("GET", f"/?add-to-cart={mug['id']}")
            text = (await shop.request("GET", path)).text
            nonce = re.search(r'name="woocommerce-process-checkout-nonce" value="([^"]+)"', text)
            assert nonce, text[:300]
            address = COUNTRY_ADDRESSES["US"].items()
            form = {
                **{f"billing_{name}": value for name, value in address},
                "billing_email": "grace@example.com",
                "payment_method": "cod",
                "woocommerce-process-checkout-nonce": nonce.group(1),
                f"woocommerce_checkout_{field}": "1",
            }
            before = await count_orders(store)
            answers = await asyncio.gather(
                *(shop.request("POST", target, data=form) for _ in range(2))
            )
            places = {
                answer.body["redirect"] if answer.body else answer.headers["Location"]
                for answer in answers
            }
            assert len(places) == 1, places
            assert "/order-received/" in places.pop()
            assert await count_orders(store) == before + 1, target


async def test_lock_of_killed_process_is_released_and_other_carts_do_not_wait(
    store: Store,
) -> None:
    async with open_visit(store.url, store.at) as shop:
        await shop.fill_cart()
        cart = (await shop.request("GET", f"{API}/cart")).headers["Cart-Token"]
        payload = json.loads(base64.urlsafe_b64decode(cart.split(".")[1] + "=="))
        lock = "storefleet_checkout_" + hashlib.md5(payload["user_id"].encode()).hexdigest()  # noqa: S324
        holder = asyncio.create_task(
            store.kubectl(
                *("exec", "deployment/web", "-c", "web", "--"),
                *("timeout", "--signal=KILL", "8", "php", "-r", _HOLD_LOCK, lock),
                check=False,
            )
        )
        await asyncio.sleep(3)
        waiting = asyncio.create_task(shop.send_checkout())
        await buy_product(store.url, store.at)
        assert not waiting.done()
        assert (await holder).strip() == "1"
        await shop.check_order(await asyncio.wait_for(waiting, timeout=5))


async def test_forty_products_are_each_on_one_page(store: Store) -> None:
    products = [
        {"name": f"Candle {number}", "regular_price": "9.00", "status": "publish"}
        for number in range(PRODUCTS)
    ]
    async with open_admin_visit(store.url, store.at, await store.read_credentials()) as admin:
        made = await admin.call_admin_api(
            "POST", "/wc/v3/products/batch", json={"create": products}
        )
        assert made.status == 200, made.text[:300]
        expected = {each["slug"] for each in made.body["create"]}
    found: list[str] = []
    async with open_visit(store.url, store.at) as shop:
        for number in range(1, 20):
            page = await shop.request("GET", f"/shop/page/{number}/" if number > 1 else "/shop/")
            if page.status == 404:
                break
            slugs = re.findall(r'href="https?://[^/"]+/product/([^/"]+)/"', page.text)
            found += sorted(set(slugs))
        await shop.buy_product(found[-1])
    assert len(found) == len(set(found))
    assert expected <= set(found)


async def test_picture_of_15_mb_gets_its_sizes_and_a_larger_file_is_explained(
    store: Store,
) -> None:
    picture = make_picture(2288, 2288)
    assert 15_000_000 < len(picture) < 16_777_216
    async with open_admin_visit(store.url, store.at, await store.read_credentials()) as admin:
        uploaded = await admin.upload_picture("large.png", picture)
        assert uploaded.status == 201, uploaded.text[:300]
        sizes = uploaded.body["media_details"]["sizes"]
        assert {"thumbnail", "large", "woocommerce_single"} <= sizes.keys()
        refused = await admin.upload_picture("larger.png", picture + bytes(2_000_000))
        assert "larger.png exceeds the maximum upload size for this site" in refused.body["message"]
        refused = await admin.upload_picture("huge.png", picture + bytes(30_000_000))
        assert refused.status == 413
        assert "accepts files of up to 16 MB" in refused.text
        path = re.sub(r"^https?://[^/]+", "", sizes["woocommerce_single"]["source_url"])
        shown = await admin.request("GET", path)
        assert (shown.status, shown.headers["Content-Type"]) == (200, "image/png")
