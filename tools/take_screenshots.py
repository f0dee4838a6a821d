"""Take the README's pictures of the dashboard and save them as `docs/images/dashboard-*.png`.

Run `make up` in another terminal first. The script creates the stores that the picture shows, takes
it in light and dark, and deletes them again.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
from playwright.async_api import Browser, async_playwright

ROOT = Path(__file__).resolve().parents[1]
ADMIN_FILE = ROOT / ".storefleet" / "admin.json"
IMAGES = ROOT / "docs" / "images"
STORES = (
    ("northwind-outfitters", "Northwind Outfitters"),
    ("kiln-and-clay", "Kiln & Clay"),
    ("harbour-coffee", "Harbour Coffee"),
)
WIDTH, HEIGHT = 1280, 540
READY_TIMEOUT_S = 120


async def main() -> None:
    """Create the stores, photograph the list, delete the stores."""
    admin = json.loads(ADMIN_FILE.read_text(encoding="utf-8"))
    headers = {"Authorization": f"Bearer {admin['token']}"}
    async with aiohttp.ClientSession(f"{admin['url']}/api/v1/", headers=headers) as api:
        try:
            for name, title in STORES:
                await wait_until_ready(api, await create_store(api, name, title))
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(
                    executable_path="/usr/bin/chromium", args=["--no-sandbox"]
                )
                IMAGES.mkdir(exist_ok=True)
                for theme in ("light", "dark"):
                    await photograph(browser, admin, theme)
                await browser.close()
        finally:
            for name, _title in STORES:
                await api.delete(f"stores/{name}")


async def create_store(api: aiohttp.ClientSession, name: str, title: str) -> str:
    """Request a store and return the id of its operation."""
    body = {"name": name, "parameters": {"title": title}}
    async with api.post("stores", json=body, raise_for_status=True) as response:
        accepted = await response.json()
    operation_id: str = accepted["operation"]["id"]
    return operation_id


async def wait_until_ready(api: aiohttp.ClientSession, operation_id: str) -> None:
    """Wait for the operation's end; leave the script when it has not succeeded."""
    async with asyncio.timeout(READY_TIMEOUT_S):
        operation: dict[str, Any] = {"done": False}
        while not operation["done"]:
            async with api.get(f"operations/{operation_id}?wait=30") as response:
                operation = await response.json()
    if operation["state"] != "succeeded":
        sys.exit(
            f"The operation {operation_id} ended as {operation['state']}: {operation['error']}"
        )


async def photograph(browser: Browser, admin: dict[str, str], theme: str) -> None:
    """Sign in and save a picture of the store list."""
    context = await browser.new_context(
        viewport={"width": WIDTH, "height": HEIGHT},
        color_scheme="dark" if theme == "dark" else "light",
    )
    page = await context.new_page()
    await page.goto(admin["url"])
    await page.fill("input[name=email]", admin["email"])
    await page.fill("input[name=password]", admin["password"])
    await page.press("input[name=password]", "Enter")
    await page.wait_for_url("**/stores")
    await page.wait_for_load_state("networkidle")
    await page.screenshot(path=IMAGES / f"dashboard-{theme}.png")
    await context.close()


if __name__ == "__main__":
    asyncio.run(main())
