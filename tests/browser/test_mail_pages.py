"""Mails of a hostile store in a real browser: no script, no load, no form, no navigation."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Frame, Page

from tests.support.http.mail_store import (
    MailStore,
    add_store,
    make_mail,
    run_mail_store,
    write_postal_engine,
)
from tests.support.services.world import World

HOSTILE = """<!doctype html>
<html><head>
<base href="{outside}/base/">
<meta http-equiv="refresh" content="0;url={outside}/refresh">
<meta http-equiv="Content-Security-Policy" content="default-src * data: 'unsafe-inline'">
<link rel="stylesheet" href="{outside}/link.css">
<link rel="prefetch" href="{outside}/prefetch">
<link rel="preload" as="image" href="{outside}/preload">
<link rel="modulepreload" href="{outside}/module.js">
<link rel="icon" href="{outside}/icon.png">
<link rel="manifest" href="{outside}/manifest">
<style>
@import url("{outside}/import.css");
@font-face {{ font-family: f; src: url("{outside}/font"); }}
body {{ background: url("{outside}/background"); font-family: f; color: rgb(1, 2, 3); }}
</style>
<script>document.title = "ran"; top.location = "{outside}/script"</script>
<script src="{outside}/script.js"></script>
</head><body onload="location = '{outside}/onload'">
<p id="greeting" style="font-weight: 700">Ol\u00e1 \U0001f6cd</p>
<img id="inline" src="data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=" alt="">
<img src="{outside}/image" srcset="{outside}/srcset 2x" onerror="location = '{outside}/onerror'">
<img src="/static/image-of-the-platform" onerror="location = '{outside}/onerror'">
<svg onload="location = '{outside}/svg'"><script>location = '{outside}/svg-script'</script>
<image href="{outside}/svg-image"/><use href="{outside}/use.svg#a"/></svg>
<video src="{outside}/video" poster="{outside}/poster" autoplay></video>
<audio src="{outside}/audio" autoplay></audio>
<object data="{outside}/object"></object><embed src="{outside}/embed">
<iframe src="{outside}/frame"></iframe><iframe src="/stores"></iframe>
<iframe srcdoc="<script>top.location = '{outside}/srcdoc'</script>"></iframe>
<form id="form" action="{outside}/form" method="post"><input name="a" value="b" autofocus>
<button id="submit">Confirm</button></form>
<form id="logout" action="/logout" method="post"><button id="sign-out">Sign out</button></form>
<a id="link" href="{outside}/link">link</a>
<a id="top" href="{outside}/top" target="_top">top</a>
<a id="blank" href="{outside}/blank" target="_blank">blank</a>
<a id="script" href="javascript:top.location='{outside}/javascript'">script</a>
<a id="ping" href="#here" ping="{outside}/ping">ping</a>
</body></html>
"""


class Outside:
    """A server that a mail must never reach; it counts connections, not only requests."""

    def __init__(self) -> None:
        self.received: list[str] = []
        self.url = ""

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        self.received.append(line.decode(errors="replace").strip() or "a connection")
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()


@asynccontextmanager
async def run_outside() -> AsyncIterator[Outside]:
    outside = Outside()
    server = await asyncio.start_server(outside.accept, "127.0.0.1", 0)
    outside.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield outside


@pytest.fixture
async def store(world: World, tmp_path: Path) -> AsyncIterator[MailStore]:
    async with run_mail_store() as server:
        engines = (write_postal_engine(tmp_path / "engines"),)
        await world.start("gateway", runtime="local", engines_path=engines, default_engine="postal")
        await add_store(world, "acme", port=server.port)
        yield server


@pytest.fixture
async def page(browser: Browser, world: World, store: MailStore) -> AsyncIterator[Page]:
    """A page of a signed-in user."""
    del store
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    page = await context.new_page()
    await page.goto(f"{world.url}/login")
    await page.fill("#email", world.admin.email)
    await page.fill("#password", world.admin.password)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url("**/stores")
    yield page
    await context.close()


async def open_mail(page: Page, world: World, number: int) -> Frame:
    """Open a mail from the store's page and return the frame with its HTML."""
    await page.goto(f"{world.url}/stores/acme")
    await page.click("#show-mail")
    await page.click(f"[data-mail-id='{number}'] a")
    handle = await page.wait_for_selector("#mail-html")
    frame = await handle.content_frame()
    assert frame is not None
    await frame.wait_for_selector("#greeting", state="attached")
    return frame


async def test_hostile_mail_runs_loads_sends_and_opens_nothing(
    page: Page, world: World, store: MailStore
) -> None:
    async with run_outside() as outside:
        store.mails = [make_mail(1, html=HOSTILE.format(outside=outside.url))]
        frame = await open_mail(page, world, 1)
        address = page.url
        await asyncio.sleep(1)  # a refresh, a load or a script would have had its effect
        greeting = frame.locator("#greeting")
        assert await greeting.text_content() == "Ol\u00e1 \U0001f6cd"
        style = await greeting.evaluate(
            "e => [getComputedStyle(e).fontWeight, getComputedStyle(e).color]"
        )
        assert style == ["700", "rgb(1, 2, 3)"]  # the mail's own styles apply
        assert await frame.locator("#inline").evaluate("e => e.naturalWidth") == 1
        assert await frame.evaluate("() => document.title") == ""
        assert await frame.evaluate("() => origin") == "null"
        assert await page.evaluate("() => document.activeElement.tagName") != "IFRAME"
        for name in ("submit", "sign-out", "blank", "script", "ping", "top"):
            await frame.locator(f"#{name}").click()
            await asyncio.sleep(0.2)
        assert await greeting.text_content() == "Ol\u00e1 \U0001f6cd"
        assert len(page.context.pages) == 1
        assert page.url == address
        await frame.locator("#link").click()
        await asyncio.sleep(0.5)
        assert page.url == address
        assert outside.received == []
    await page.goto(f"{world.url}/stores")
    assert page.url == f"{world.url}/stores"  # still signed in


async def test_hostile_mail_opened_outside_its_frame_is_sandboxed_too(
    page: Page, world: World, store: MailStore
) -> None:
    async with run_outside() as outside:
        html = HOSTILE.format(outside=outside.url).replace("http-equiv=", "data-x=")
        store.mails = [make_mail(1, html=html)]
        await page.goto(f"{world.url}/stores/acme/mail/1/html")
        await asyncio.sleep(1)
        assert page.url == f"{world.url}/stores/acme/mail/1/html"
        assert await page.evaluate("() => origin") == "null"
        await page.click("#submit")
        await page.click("#blank")
        await asyncio.sleep(0.5)
        assert len(page.context.pages) == 1
        assert outside.received == []


async def test_texts_cannot_disguise_themselves_on_pages(
    page: Page, world: World, store: MailStore
) -> None:
    subject = "Invoice \u202efdp.exe <b>bold</b>"
    store.mails = [make_mail(1, subject=subject, text="</pre><img src=x onerror=alert(1)>")]
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    await page.goto(f"{world.url}/stores/acme/mail")
    shown = "Invoice \ufffdfdp.exe <b>bold</b>"
    assert await page.text_content("[data-mail-id] a") == shown
    await page.click("[data-mail-id] a")
    assert await page.text_content("#mail-subject") == shown
    assert await page.text_content("#mail-text") == "</pre><img src=x onerror=alert(1)>"
    assert dialogs == []


async def test_mail_pages_fit_narrow_screens(page: Page, world: World, store: MailStore) -> None:
    store.mails = [
        make_mail(n, subject="w" * 900, to=["x" * 300] * 3, text="y" * 9000, html="<p>" + "z" * 999)
        for n in range(1, 41)
    ]
    for width in (320, 390, 1280):
        await page.set_viewport_size({"width": width, "height": 900})
        for path in ("mail", "mail?starting_after=20", "mail/1", "mail/99"):
            await page.goto(f"{world.url}/stores/acme/{path}")
            assert await page.evaluate("() => document.documentElement.scrollWidth") <= width, path
