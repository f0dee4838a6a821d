"""Oscar stores sell correctly: lists, addresses, orders placed once, confirmed prices, pictures."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from playwright.async_api import BrowserContext, Page, expect

from tests.support.services.platform import ROOT
from tests.support.stores.oscar import (
    ADDRESS,
    Visitor,
    buy_products,
    fill_address,
    find_order_number,
    place_order,
    put_in_basket,
    visit,
)
from tests.support.stores.oscar_addresses import ADDRESSES, INVALID_POSTCODES, WITHOUT_POSTCODE
from tests.support.stores.oscar_containers import HOST, SIGN_IN, Containers, read_log
from tests.support.texts.samples import STORE_TITLE

SCRIPTS = ROOT / "tests" / "support" / "stores" / "oscar_scripts"
UPLOAD_BYTES = 15_000_000


@pytest_asyncio.fixture
async def served(shop: Containers) -> AsyncIterator[Containers]:
    """A new store that is served."""
    assert await shop.run_command("setup") == 0, read_log(shop, "setup")
    async with shop.serve():
        yield shop


async def prepare_order(visitor: Visitor, *, quantity: int = 1) -> str:
    """Put the first product into the basket and go to the preview; return it."""
    await put_in_basket(visitor, quantity=quantity)
    await fill_address(visitor)
    return await visitor.get("/checkout/preview/")


async def test_lists_of_1_to_100_products_show_each_product_once(shop: Containers) -> None:
    assert await shop.run_command("setup") == 0
    code = await shop.run_script(SCRIPTS / "check_catalogue.py")
    assert code == 0, read_log(shop, "check_catalogue")[-2000:]


async def test_search_finds_words_parts_forms_and_categories(served: Containers) -> None:
    await served.fetch_value(
        "UPDATE catalogue_product SET title = 'Žába & Größe 茶杯' WHERE upc = 'SF-TOTE-01'"
    )
    expected = {
        "mug": "Stoneware Mug",
        "MUGS": "Stoneware Mug",
        "stone": "Stoneware Mug",
        "mug stoneware": "Stoneware Mug",
        "SF-CANDLE": "Soy Wax Candle",
        "cedar": "Soy Wax Candle",
        "living": "Linen Cushion",
        "größe": "Größe",
        "茶": "茶杯",
    }
    for text, title in expected.items():
        _, page = await served.request_page(f"/search/?q={text}", HOST)
        assert title in page.partition("Found")[2], text
    for text in ("mug candle", "%", "_", "'", "\\", "nothing", "a" * 3000, "%00", "()&|!:*"):
        status, page = await served.request_page(f"/search/?q={text}", HOST)
        assert (status, "Found <strong>0</strong>" in page) == (200, True), text
    for path in ("/catalogue/?sort_by=none", "/catalogue/?page=99", "/search/", "/search/?page=x"):
        assert (await served.request_page(path, HOST))[0] in (200, 404), path


async def test_guests_of_ten_countries_buy_with_their_addresses(served: Containers) -> None:
    without = [{**ADDRESS, "country": code, "postcode": ""} for code in WITHOUT_POSTCODE]
    for address in (*ADDRESSES.values(), *without):
        await buy_products(served.url, title=STORE_TITLE, sign="£", at=served.at, address=address)
    assert await served.fetch_value("SELECT count(*) FROM order_order") == 12
    async with visit(served.url, at=served.at) as visitor:
        await put_in_basket(visitor)
        for country, postcode in INVALID_POSTCODES.items():
            address = ADDRESSES[country]
            page = await fill_address(visitor, {**address, "postcode": postcode})
            assert "This postcode is not valid for" in page, country
            page = await fill_address(visitor, {**address, "postcode": "", "line4": ""})
            assert "require a postcode" in page, country
            assert "require a city" in page, country


async def test_order_placed_several_times_is_one_order_and_shows_thanks(
    served: Containers,
) -> None:
    bare = {"action": "place_order"}
    for fields in (None, bare):
        async with visit(served.url, at=served.at) as visitor:
            preview = await prepare_order(visitor)

            async def submit(
                visitor: Visitor = visitor,
                preview: str = preview,
                fields: dict[str, str] | None = fields,
            ) -> str:
                if fields is None:
                    return await place_order(visitor, preview)
                return await visitor.post("/checkout/preview/", fields, page=preview)

            pages = await asyncio.gather(*(submit() for _ in range(4)))
            numbers = {find_order_number(page) for page in pages}
            assert len(numbers) == 1, numbers
            (number,) = numbers
            assert number is not None
            assert find_order_number(await submit()) == number, "the button pressed later"
            for path in ("/checkout/thank-you/", "/checkout/preview/"):
                assert find_order_number(await visitor.get(path)) == number, path
            # The same session buys again, and an old page still shows its own order.
            second = find_order_number(await place_order(visitor, await prepare_order(visitor)))
            assert second not in (None, number)
    assert await served.fetch_value("SELECT count(*) FROM order_order") == 4


async def test_price_changed_after_preview_is_confirmed_again(served: Containers) -> None:
    async with visit(served.url, at=served.at) as visitor:
        preview = await prepare_order(visitor)
        await served.fetch_value("UPDATE partner_stockrecord SET price = price + 3")
        page = await place_order(visitor, preview)
        assert "Nothing has been ordered" in page
        assert await served.fetch_value("SELECT count(*) FROM order_order") == 0
        shown = re.search(r"You pay £([0-9.]+)", page)
        assert find_order_number(await place_order(visitor, page)) is not None
        total = await served.fetch_value("SELECT total_incl_tax FROM order_order")
        assert shown is not None
        assert shown.group(1) == str(total)


async def test_stock_sold_after_preview_is_reported_and_not_oversold(served: Containers) -> None:
    await served.fetch_value("UPDATE partner_stockrecord SET num_in_stock = 3")
    async with visit(served.url, at=served.at) as first, visit(served.url, at=served.at) as second:
        previews = [await prepare_order(visitor, quantity=2) for visitor in (first, second)]
        pages = await asyncio.gather(
            *(
                place_order(visitor, preview)
                for visitor, preview in zip((first, second), previews, strict=True)
            )
        )
    numbers = [find_order_number(page) for page in pages]
    assert len([number for number in numbers if number]) == 1, numbers
    told = pages[numbers.index(None)]
    assert "is no longer available to buy" in told
    assert await served.fetch_value("SELECT max(num_allocated) FROM partner_stockrecord") == 2


async def test_picture_of_15_mb_is_shown_and_larger_file_refused(
    served: Containers, context: BrowserContext
) -> None:
    picture = served.folder / "tmp" / "picture.jpg"
    assert await served.run_script(SCRIPTS / "make_picture.py", PICTURE=str(picture)) == 0
    origin = f"http://{HOST}:{served.shop_port}"
    product = await served.fetch_value(
        "SELECT id FROM catalogue_product WHERE title = 'Stoneware Mug'"
    )
    page = await context.new_page()
    await page.goto(f"{origin}/dashboard/login/")
    await page.fill('input[name="username"]', SIGN_IN["username"])
    await page.fill('input[name="password"]', SIGN_IN["password"])
    await page.press('input[name="password"]', "Enter")
    await page.wait_for_url(f"{origin}/dashboard/")
    path = f"{origin}/dashboard/catalogue/products/{product}/"
    await _upload(page, path, picture)
    name = await served.fetch_value(
        "SELECT original FROM catalogue_productimage ORDER BY id DESC LIMIT 1"
    )
    assert (served.folder / "files" / "media" / name).stat().st_size == UPLOAD_BYTES
    await page.goto(f"{origin}/catalogue/stoneware-mug_{product}/")
    widths = await page.evaluate(
        "Promise.all([...document.images].map(async image =>"
        " { await image.decode(); return image.naturalWidth }))"
    )
    assert widths
    assert all(width > 0 for width in widths), widths
    await _upload(page, path, picture.with_suffix(".png"))
    await expect(page.locator("body")).to_contain_text("more than 16 megapixels")
    picture.write_bytes(picture.read_bytes() + bytes(4_000_000))
    await _upload(page, path, picture)
    await expect(page.locator("body")).to_contain_text("The file is too large")
    assert await served.fetch_value("SELECT count(*) FROM catalogue_productimage") == 7


async def _upload(page: Page, path: str, picture: Path) -> None:
    await page.goto(path)
    await page.set_input_files('input[name="images-1-original"]', picture)
    async with page.expect_navigation(timeout=60_000):
        await page.eval_on_selector(
            'input[name="images-1-original"]',
            "input => HTMLFormElement.prototype.submit.call(input.form)",
        )
