"""Version changes update the open page without a reload; they also work without JavaScript."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, Route, expect

from storefleet.core.errors import PermanentError
from tests.support.services.scripted_steps import Gate, failing
from tests.support.services.version_rehearsal import (
    VERSIONED,
    ScriptedVersionChanges,
    reject_lost_orders,
)
from tests.support.services.world import World


@pytest.fixture
def rehearsal(monkeypatch: pytest.MonkeyPatch) -> ScriptedVersionChanges:
    return ScriptedVersionChanges(monkeypatch)


@pytest_asyncio.fixture
async def atelier(world: World, rehearsal: ScriptedVersionChanges) -> World:
    del rehearsal
    await world.start(engines_path=(VERSIONED,), default_engine="")
    return world


@pytest_asyncio.fixture
async def opened(browser: Browser, atelier: World) -> AsyncIterator[Page]:
    """A page with a signed-in user; any console error fails the test."""
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    problems: list[str] = []
    context.on("console", lambda message: problems.extend(complaints(message)))
    context.on("weberror", lambda error: problems.append(str(error.error)))
    page = await context.new_page()
    await sign_in(page, atelier)
    yield page
    await context.close()
    assert problems == []


def complaints(message: ConsoleMessage) -> list[str]:
    """Return a console message as a problem, unless it reports a rejected form."""
    refused = re.search(r"status of (409|422)", message.text)
    return [message.text] if message.type == "error" and not refused else []


async def unknown_version(route: Route) -> None:
    """What a page sends that was opened before the version was taken back."""
    await route.continue_(post_data=(route.request.post_data or "").replace("2.1.0", "3.0.0"))


async def sign_in(page: Page, world: World) -> None:
    await page.goto(world.url)
    await page.fill("#email", world.admin.email)
    await page.fill("#password", world.admin.password)
    await page.click("form button:has-text('Sign in')")
    await page.wait_for_url("**/stores")


async def show(page: Page, store: dict[str, Any], world: World) -> None:
    """The store's page, marked so that a reload would show."""
    await page.goto(f"{world.url}/stores/{store['id']}")
    await expect(page.locator("html")).to_have_attribute("data-live", "open")
    await page.evaluate("document.body.dataset.untouched = 'yes'")


async def untouched(page: Page) -> None:
    assert await page.evaluate("document.body.dataset.untouched") == "yes", "the page was reloaded"


def crash() -> PermanentError:
    return PermanentError(
        "shop_crashes", "The shop ended with exit code 255.", next_step="Wait for the next version."
    )


async def test_upgrade_updates_open_page_without_reload(
    opened: Page, atelier: World, rehearsal: ScriptedVersionChanges
) -> None:
    gate = Gate()
    rehearsal.acts["start"] = gate
    store = await atelier.api.create_ready_store("growing")
    await show(opened, store, atelier)
    await opened.click("#upgrade > summary")
    await expect(opened.locator("#upgrade input:checked")).to_have_value("2.1.0")
    await expect(opened.locator("#upgrade")).to_contain_text("rolls back to 2.0.0 automatically")
    await opened.click("#start-upgrade")
    await expect(opened.locator("#live")).to_have_attribute("data-store-state", "upgrading")
    await expect(opened.locator("#step-start")).to_have_attribute("data-step-state", "running")
    await expect(opened.locator("#step-dump")).to_have_attribute("data-step-state", "succeeded")
    await expect(opened.locator("#state")).to_have_text("Upgrading3/4")
    await expect(opened).to_have_title(re.compile(r"^\(3/4\) growing"))
    gate.open()
    await expect(opened.locator("#live")).to_have_attribute("data-store-state", "ready")
    await expect(opened.locator("#current-version")).to_have_text("2.1.0")
    await expect(opened.locator("#toasts")).to_contain_text("growing was upgraded to 2.1.0")
    await expect(opened.locator("#history [data-kind=upgrade]")).to_contain_text("Done")
    await expect(opened.locator("#rollback > summary")).to_contain_text("Roll back to 2.0.0")
    await untouched(opened)


async def test_automatic_rollback_updates_open_page_without_reload(
    opened: Page, atelier: World, rehearsal: ScriptedVersionChanges
) -> None:
    gate = Gate()
    rehearsal.acts |= {"start": failing(crash, times=1), "rollback-start": gate}
    store = await atelier.api.create_ready_store("falling")
    await show(opened, store, atelier)
    await opened.click("#upgrade > summary")
    await opened.click("#start-upgrade")
    await expect(opened.locator("#live")).to_have_attribute("data-store-state", "rolling_back")
    await expect(opened.locator("#automatic-rollback")).to_contain_text(
        "Version 2.1.0 did not start"
    )
    await expect(opened.locator("#automatic-rollback")).to_contain_text(
        "The shop ended with exit code 255."
    )
    await expect(opened.locator("#automatic-rollback")).to_contain_text(
        "rolls back to 2.0.0 automatically"
    )
    await expect(opened.locator("#step-start")).to_have_attribute("data-step-state", "failed")
    await expect(opened.locator("#step-verify")).to_have_attribute("data-step-state", "skipped")
    await expect(opened.locator("#cancel")).to_have_count(0)
    gate.open()
    await expect(opened.locator("#live")).to_have_attribute("data-store-state", "ready")
    await expect(opened.locator("#failure")).to_contain_text("The store is back on 2.0.0.")
    await expect(opened.locator("#failure")).to_contain_text("Wait for the next version.")
    await expect(opened.locator("#failure-code")).to_have_text("shop_crashes")
    await expect(opened.locator("#current-version")).to_have_text("2.0.0")
    await expect(opened.locator("#toasts")).to_contain_text("was rolled back to 2.0.0")
    await untouched(opened)
    await opened.click("#failure a:has-text('Choose a version')")
    await expect(opened.locator("#upgrade")).to_have_attribute("open", "")
    await expect(opened.locator("#upgrade input:checked")).to_be_focused()


async def test_rollback_that_loses_orders_asks_for_confirmation(
    opened: Page, atelier: World, rehearsal: ScriptedVersionChanges
) -> None:
    rehearsal.acts["orders"] = reject_lost_orders
    store = await atelier.api.create_ready_store("trading")
    accepted = await atelier.api.post(f"/stores/{store['id']}/upgrade", {"version": "2.1.0"})
    await atelier.api.wait_until_done(accepted.body["operation"]["id"])
    await show(opened, store, atelier)
    await opened.click("#rollback > summary")
    await opened.check("#rollback-restore")
    await opened.click("#start-rollback")
    await expect(opened.locator("#orders li")).to_have_text(["1042 (84.00)", "1043 (12.50)"])
    await expect(opened.locator("#current-version")).to_have_text("2.1.0")
    assert "restore" not in rehearsal.runs
    await opened.click("#discard-orders")
    await expect(opened.locator("#current-version")).to_have_text("2.0.0")
    await expect(opened.locator("#live")).to_have_attribute("data-store-state", "ready")
    assert rehearsal.runs[-6:] == ["orders", "stop", "restore", "release", "start", "verify"]
    await untouched(opened)


async def test_rejected_upgrade_shows_error_beside_its_form(opened: Page, atelier: World) -> None:
    store = await atelier.api.create_ready_store("changed-elsewhere")
    await show(opened, store, atelier)
    await opened.click("#upgrade > summary")
    await opened.route("**/upgrade", unknown_version)
    await opened.click("#start-upgrade")
    await expect(opened.locator("#versions-error")).to_contain_text(
        "The version must be one of: 2.0.0, 2.1.0, 1.9.0."
    )
    await expect(opened.locator("#versions-error")).to_be_focused()
    await untouched(opened)


async def test_rejected_retry_on_outdated_page_shows_reason(
    opened: Page, atelier: World, rehearsal: ScriptedVersionChanges
) -> None:
    rehearsal.acts |= {"start": failing(crash, times=1), "rollback-start": failing(crash, times=1)}
    store = await atelier.api.create_ready_store("mended-elsewhere")
    accepted = await atelier.api.post(f"/stores/{store['id']}/upgrade", {"version": "2.1.0"})
    await atelier.api.wait_until_done(accepted.body["operation"]["id"])
    await opened.route_web_socket(
        "**/api/v1/events*", lambda _line: None
    )  # the page receives no events
    await show(opened, store, atelier)
    accepted = await atelier.api.post(f"/stores/{store['id']}/retry")
    await atelier.api.wait_until_done(accepted.body["operation"]["id"])
    await opened.click("#retry")
    await expect(opened.locator("#toasts")).to_contain_text(
        "Only a failed store can be retried. (not_failed)"
    )
    await expect(opened.locator("#live")).to_have_attribute("data-store-state", "ready")


async def test_create_form_offers_versions_and_plans_of_engine(
    opened: Page, atelier: World
) -> None:
    await opened.goto(f"{atelier.url}/stores/new")
    await expect(opened.locator("#plan-atelier")).to_be_visible()
    await expect(opened.locator("#version-atelier input:checked")).to_have_value("2.0.0")
    await opened.check("#version-atelier-2")
    await opened.check("#plan-atelier-small")
    await opened.fill("#name", "chosen")
    await opened.click("button:has-text('Create store')")
    await opened.wait_for_url("**/stores/sto_*")
    await expect(opened.locator("#live")).to_have_attribute("data-store-state", "ready")
    await expect(opened.locator("#current-version")).to_have_text("2.1.0")
    await expect(opened.locator("#plan-title")).to_have_text("Small")


async def test_versions_change_without_javascript(browser: Browser, atelier: World) -> None:
    store = await atelier.api.create_ready_store("plain")
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await sign_in(page, atelier)
    await page.goto(f"{atelier.url}/stores/{store['id']}")
    for section, button, version in (
        ("upgrade", "#start-upgrade", "2.1.0"),
        ("rollback", "#start-rollback", "2.0.0"),
    ):
        await page.click(f"#{section} > summary")
        await page.click(button)
        await page.wait_for_url("**/stores/sto_*")
        await atelier.api.wait_until_done(
            (await atelier.api.get("/operations")).body["data"][0]["id"]
        )
        await page.reload()
        await expect(page.locator("#current-version")).to_have_text(version)
    await context.close()


async def test_upgrade_is_operable_by_keyboard(opened: Page, atelier: World) -> None:
    store = await atelier.api.create_ready_store("keyed")
    await show(opened, store, atelier)
    await opened.focus("#upgrade > summary")
    await opened.keyboard.press("Enter")
    await opened.keyboard.press("Tab")
    await expect(opened.locator("#upgrade input:checked")).to_be_focused()
    await opened.keyboard.press("Tab")
    await expect(opened.locator("#start-upgrade")).to_be_focused()
    await opened.keyboard.press("Enter")
    await expect(opened.locator("#current-version")).to_have_text("2.1.0")
    await expect(opened.locator("#title")).to_be_focused()
