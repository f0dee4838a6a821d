"""Open pages show changes made elsewhere, and catch up after a lost connection."""

import asyncio
import sys
from typing import Any

from playwright.async_api import BrowserContext, Page, WebSocketRoute, expect

from tests.browser.conftest import sign_in
from tests.support.services.platform import ROOT, Client, Platform

CUT = 10.0
REMEMBER = """
    window.seen = [];
    document.addEventListener('storefleet:event', (event) => window.seen.push(event.detail.seq));
"""


async def test_store_created_by_cli_appears_on_open_page(page: Page, platform: Platform) -> None:
    await expect(page.locator("html")).to_have_attribute("data-live", "open")
    await page.evaluate("document.body.dataset.untouched = 'yes'")
    await _cli(platform, "stores", "create", "from-cli", "--no-wait")
    row = page.locator('[data-store-name="from-cli"]')
    await expect(row).to_be_visible(timeout=5_000)
    await expect(row).to_have_attribute("data-store-state", "ready", timeout=40_000)
    await _cli(platform, "stores", "delete", "from-cli", "--confirm", "from-cli", "--wait")
    await expect(row).to_have_count(0, timeout=10_000)
    assert await page.evaluate("document.body.dataset.untouched") == "yes", "the page was reloaded"


async def test_page_catches_up_after_lost_connection(
    context: BrowserContext, platform: Platform
) -> None:
    line = Line()
    page = await context.new_page()
    await page.add_init_script(REMEMBER)
    await page.route_web_socket("**/api/v1/events*", line.connect)
    await sign_in(page, platform)
    await expect(page.locator("html")).to_have_attribute("data-live", "open")
    before = int(await page.evaluate("Number(document.documentElement.dataset.seq)"))
    await line.cut()
    async with Client(platform) as client:
        answer = await client.create("while-cut")
        await asyncio.sleep(CUT)
        await expect(page.locator("#conn")).to_contain_text("Reconnecting")
        line.mend()
        await client.ended(answer["operation"]["id"])
        row = page.locator('[data-store-name="while-cut"]')
        await expect(row).to_have_attribute("data-store-state", "ready", timeout=15_000)
        await expect(page.locator("#conn")).to_be_empty()
        deleted = await client.delete("while-cut")
        await client.ended(deleted["operation"]["id"])
        await expect(row).to_have_count(0, timeout=10_000)
        _, events = await client.insist("GET", f"stores/{answer['store']['id']}/events?limit=100")
    expected = sorted(event["seq"] for event in events["data"])
    await page.wait_for_function("last => window.seen.at(-1) >= last", arg=expected[-1])
    seen = [seq for seq in await page.evaluate("window.seen") if seq > before]
    assert [seq for seq in seen if seq in set(expected)] == expected, (
        "missing, duplicated or out of order"
    )
    assert len(seen) == len(set(seen))


class Line:
    """The page's connection to the notifier, which the test can cut."""

    def __init__(self) -> None:
        self._whole = True
        self._open: list[WebSocketRoute] = []

    async def connect(self, route: WebSocketRoute) -> None:
        if not self._whole:
            await route.close(code=1012, reason="cut")
            return
        route.connect_to_server()
        self._open.append(route)

    async def cut(self) -> None:
        self._whole = False
        for route in self._open:
            await route.close(code=1012, reason="cut")
        self._open.clear()

    def mend(self) -> None:
        self._whole = True


async def _cli(platform: Platform, *words: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "storefleet.cli.main",
        *words,
        cwd=ROOT,
        env=platform.environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output: tuple[Any, Any] = await process.communicate()
    assert process.returncode == 0, output
