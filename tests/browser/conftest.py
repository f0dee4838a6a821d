"""Fixtures: a platform with real Oscar stores, and a real browser."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    WebError,
    async_playwright,
)

from storefleet.node.private_files import create_folder, create_owned_folder
from storefleet.node.system_user import ensure_account
from tests.support.services.platform import ROOT, Platform, free_ports, run_platform
from tests.support.services.polling import eventually
from tests.support.stores.oscar_containers import READY, Containers, stop_process

CHROMIUM = next(
    (p for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(p).exists()),
    "/usr/bin/chromium",
)
FLAGS = [
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    state = tmp_path_factory.mktemp("shops") / "state"
    with run_platform(
        state, engines=ROOT / "charts", engine="oscar", stores_per_hour=1000
    ) as platform:
        yield platform


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
async def context(browser: Browser, platform: Platform) -> AsyncIterator[BrowserContext]:
    """A new browser profile; any console error of a dashboard page fails the test."""
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    problems: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        ours = message.location.get("url", "").startswith(platform.admin["url"])
        if message.type == "error" and ours and "status of 422" not in message.text:
            problems.append(message.text)

    def on_error(error: WebError) -> None:
        if error.page is not None and error.page.url.startswith(platform.admin["url"]):
            problems.append(str(error.error))

    context.on("console", on_console)
    context.on("weberror", on_error)
    yield context
    await context.close()
    assert problems == []


@pytest.fixture
async def page(context: BrowserContext, platform: Platform) -> Page:
    """A page with a signed-in user, showing the list of stores."""
    page = await context.new_page()
    await sign_in(page, platform)
    return page


async def sign_in(page: Page, platform: Platform) -> None:
    admin = platform.admin
    await page.goto(admin["url"])
    await page.fill("#email", admin["email"])
    await page.fill("#password", admin["password"])
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url("**/stores")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def baked(platform: Platform) -> AsyncIterator[Containers]:
    """Baked image content and a running database, with the environment of the local stores."""
    (venv,) = (platform.state_dir / "engines" / "oscar").glob("*/venv")
    folder, account = Path(tempfile.mkdtemp(prefix="storefleet-tests-")), ensure_account()
    create_owned_folder(folder, account)
    for name in ("template", "database", "files", "tmp", "backups"):
        create_owned_folder(folder / name, account)
    create_folder(folder / "pids")
    port, shop_port = free_ports(2)
    containers = Containers(
        folder, account, venv / "bin" / "python", venv.parent / "src", port, shop_port
    )
    containers.write_configuration()
    assert await containers.run_command("bake") == 0, containers.get_log_path("bake").read_text()[
        -3000:
    ]
    server = containers.start_command("database")
    try:
        await eventually(containers.is_answering, within=READY)
        yield containers
    finally:
        await stop_process(server)
        shutil.rmtree(folder)


@pytest_asyncio.fixture
async def shop(baked: Containers) -> Containers:
    await baked.reset_database()
    baked.reset_files()
    return baked
