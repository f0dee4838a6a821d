"""Every state of every page, in both themes and two widths: no axe violation, no overflow."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser

from tests.support.dashboard.page_states import DASHBOARD, render_states
from tests.support.services.platform import ROOT, free_ports

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
EVERYTHING = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
LOOKS = {"type": "rule", "values": ["color-contrast", "target-size", "scrollable-region-focusable"]}
OPEN_ALL = "for (const each of document.querySelectorAll('details')) each.open = true"


@pytest_asyncio.fixture(scope="session")
async def gallery() -> AsyncIterator[tuple[str, list[str]]]:
    """URL of the rendered states, and their names."""
    pages = dict(render_states())

    async def show(request: web.Request) -> web.Response:
        return web.Response(text=pages[request.match_info["name"]], content_type="text/html")

    app = web.Application()
    app.router.add_get("/pages/{name}", show)
    app.router.add_static("/static", DASHBOARD / "static" / "dist")
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port = free_ports(1)[0]
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"http://127.0.0.1:{port}/pages", list(pages)
    await runner.cleanup()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
async def test_pages_have_no_accessibility_violations(
    browser: Browser, gallery: tuple[str, list[str]], theme: str, width: int
) -> None:
    address, names = gallery
    context = await browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
    )
    page = await context.new_page()
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    rules = (
        EVERYTHING if (theme, width) == ("light", 1280) else LOOKS
    )  # the other rules do not depend on theme and width
    axe = AXE.read_text(encoding="utf-8")
    for name in names:
        await page.goto(f"{address}/{name}")
        await page.evaluate(OPEN_ALL)
        if (wide := await page.evaluate("document.documentElement.scrollWidth")) > width:
            found.append(f"{name}: {wide} px wide")
        await page.evaluate(axe)
        for violation in (await page.evaluate("runOnly => axe.run({runOnly})", rules))[
            "violations"
        ]:
            found += [
                f"{name}: {violation['id']}: {node['html'][:200]}" for node in violation["nodes"]
            ]
    await context.close()
    assert found == []
