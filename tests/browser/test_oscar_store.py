"""Create a store on the dashboard, buy a product, find the order in the admin, delete the store."""

import re
import socket
from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, Page, expect

from tests.support.services.databases import list_store_databases
from tests.support.services.platform import Client, Platform

READY = 40_000


async def test_store_created_by_form_takes_order_and_is_deleted_completely(
    page: Page, context: BrowserContext, platform: Platform
) -> None:
    await _create(page, "first-shop", title="First Shop")
    order = await _buy(await context.new_page(), await _link(page, "Open storefront"))
    await _find_mail(page, order)
    await _find_order(await context.new_page(), page, order)
    await _delete(page, "first-shop")
    assert platform.leftovers() == []
    assert await list_store_databases(platform) == []


async def _create(page: Page, name: str, *, title: str) -> None:
    """Create a store by the form; the open page shows its progress without a reload."""
    await page.get_by_role("link", name="Create store").first.click()
    await page.fill("#name", name)
    await page.fill("#parameter-oscar-title", title)
    await page.get_by_role("button", name="Create store").click()
    await page.wait_for_url("**/stores/sto_*")
    await page.evaluate("document.body.dataset.untouched = 'yes'")
    await expect(page.locator("#live")).to_have_attribute(
        "data-store-state", "ready", timeout=READY
    )
    assert await page.evaluate("document.body.dataset.untouched") == "yes", "the page was reloaded"
    await expect(page).to_have_title(re.compile(name))


async def _link(page: Page, name: str) -> str:
    return str(await page.get_by_role("link", name=name).first.get_attribute("href"))


async def _buy(shop: Page, url: str) -> str:
    """As a guest, shipped to the US, paid on delivery; returns the order's number."""
    await shop.goto(url)
    await expect(shop.get_by_text("First Shop").first).to_be_visible()
    await shop.goto(url + "catalogue/")
    await shop.locator('form[action*="/basket/add/"] button[type=submit]').first.click()
    await shop.goto(url + "basket/")
    await shop.get_by_role("link", name="Proceed to checkout").first.click()
    await shop.fill('input[name="username"]', "guest@example.com")
    await shop.check('input[name="options"][value="anonymous"]')
    await shop.get_by_role("button", name="Continue").click()
    address = {
        "first_name": "Ada",
        "last_name": "Guest",
        "line1": "1 Main Street",
        "line4": "Springfield",
    }
    for field, value in {**address, "state": "Illinois", "postcode": "62701"}.items():
        await shop.fill(f'[name="{field}"]', value)
    await shop.select_option('select[name="country"]', "US")
    await shop.get_by_role("button", name="Continue").click()
    while "payment-details" in shop.url or "shipping-method" in shop.url:
        await expect(shop.locator("body")).to_contain_text(re.compile("delivery", re.IGNORECASE))
        await shop.locator("form button[type=submit], a.btn-primary").last.click()
    assert "preview" in shop.url
    await expect(shop.locator("body")).to_contain_text("Cash on delivery")
    await shop.get_by_role("button", name="Place order").click()
    await shop.wait_for_url("**/thank-you/")
    found = re.search(r"\b(1\d{5,})\b", await shop.inner_text("body"))
    assert found is not None
    return found.group(1)


async def _find_mail(page: Page, order: str) -> None:
    """Open the confirmation that the store kept, and go back to the store's page."""
    store_page = page.url
    await page.click("#show-mail")
    await page.locator("#mails a", has_text=order).first.click()
    await expect(page.locator("#mail-to")).to_contain_text("guest@example.com")
    await expect(page.locator("#mail-text")).to_contain_text(order)
    await expect(page.frame_locator("#mail-html").locator("body")).to_contain_text(order)
    await page.goto(store_page)


async def _find_order(admin: Page, page: Page, order: str) -> None:
    """Sign in with the admin credentials that the dashboard reveals, and open the order."""
    await page.get_by_role("button", name="Reveal credentials").click()
    username = await page.inner_text("#credential-username")
    password = await page.inner_text("#credential-password")
    await admin.goto(str(await page.get_attribute("#credential-admin", "href")))
    await admin.fill('input[name="username"]', username)
    await admin.fill('input[name="password"]', password)
    await admin.press('input[name="password"]', "Enter")
    await admin.wait_for_url(re.compile(r"dashboard/$"))
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(admin.url))
    await admin.goto(f"{origin}/dashboard/orders/{order}/")
    await expect(admin.locator("body")).to_contain_text("Cash on delivery")
    await expect(admin.locator("body")).to_contain_text("Ada")


async def _delete(page: Page, name: str) -> None:
    url = await _link(page, "Open storefront")
    await page.get_by_text("Delete store…").click()
    await page.fill("#confirm", name)
    await page.locator("#delete").click()
    await expect(page.locator("#live")).to_have_attribute(
        "data-store-state", "deleted", timeout=READY
    )
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", urlsplit(url).port or 0)) != 0


async def test_dashboard_without_javascript_creates_and_deletes_store(
    platform: Platform, context: BrowserContext
) -> None:
    assert context.browser is not None
    plain = await context.browser.new_context(java_script_enabled=False)
    page = await plain.new_page()
    admin = platform.admin
    await page.goto(admin["url"])
    await page.fill("#email", admin["email"])
    await page.fill("#password", admin["password"])
    await page.click("form button:has-text('Sign in')")
    await page.click("a:has-text('Create store')")
    await page.fill("#name", "noscript")
    await page.click("button:has-text('Create store')")
    await page.wait_for_url("**/stores/sto_*")
    store_id = page.url.rsplit("/", 1)[1]
    async with Client(platform) as client:
        operation = (await client.insist("GET", f"operations?store_id={store_id}"))[1]["data"][0]
        await client.ended(operation["id"])
    await page.reload()
    await expect(page.locator("#live")).to_have_attribute("data-store-state", "ready")
    await page.click("summary:has-text('Delete store')")
    await page.fill("#confirm", "noscript")
    await page.click("#delete")
    async with Client(platform) as client:
        operation = (await client.insist("GET", f"operations?store_id={store_id}"))[1]["data"][0]
        assert (await client.ended(operation["id"]))["kind"] == "delete"
    await page.reload()
    await expect(page.locator("#live")).to_have_attribute("data-store-state", "deleted")
    await plain.close()
