"""Open pages show that an owner has closed or protected a store, or that it does not answer."""

from playwright.async_api import Browser, expect

from tests.support.services.storefront_checks import add_stores, run_checker
from tests.support.services.world import World
from tests.support.stores import answering
from tests.support.stores.answering import open_stores

TITLES = (
    (answering.MAINTENANCE, "Closed by its owner", "Open the store again in its admin"),
    (answering.BASIC_AUTH, "Protected by a password or sign-in", "remove the password"),
    (answering.BROKEN, "Not answering", "Read the store's log"),
)


async def test_open_pages_follow_class_of_storefront(browser: Browser, world: World) -> None:
    await world.start("gateway", "notifier")
    (store_id,) = await add_stores(world)
    context = await browser.new_context()
    problems: list[str] = []
    context.on("weberror", lambda error: problems.append(str(error.error)))
    overview = await context.new_page()
    await overview.goto(world.url)
    await overview.fill("#email", world.admin.email)
    await overview.fill("#password", world.admin.password)
    await overview.get_by_role("button", name="Sign in").click()
    await overview.wait_for_url("**/stores")
    details = await context.new_page()
    await details.goto(f"{world.url}/stores/{store_id}")
    for page in overview, details:
        await expect(page.locator("html")).to_have_attribute("data-live", "open")
        await page.evaluate("document.body.dataset.untouched = 'yes'")
    row, live = overview.locator(f"#row-{store_id}"), details.locator("#live")
    async with open_stores(world.ports.take()) as stores, run_checker(world, port=stores.port):
        for answer, title, next_step in TITLES:
            stores.answers["acme"] = answer
            await expect(row.locator("[data-notice=storefront]")).to_have_text(title)
            notice = details.locator("[data-notice=storefront]")
            await expect(notice.get_by_role("heading")).to_have_text(title)
            await expect(notice).to_contain_text(next_step)
            await expect(details.locator("#storefront")).to_have_text(title)
        stores.answers["acme"] = answering.SERVING
        await expect(row).to_have_attribute("data-storefront", "serving")
        await expect(live).to_have_attribute("data-storefront", "serving")
        await expect(details.locator("#storefront")).to_have_text("Serving")
    for page in overview, details:
        await expect(page.locator("[data-notice]")).to_have_count(0)
        assert await page.evaluate("document.body.dataset.untouched") == "yes", "reloaded"
    summaries = details.locator("[data-event-type='store.observed']")
    await expect(summaries).to_have_count(4)
    await expect(summaries.first).to_contain_text("Storefront: serving")
    await context.close()
    assert problems == []
