"""Texts of every kind through the whole platform: what was sent is what every place shows."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from storefleet.core.identifiers import EVENT_PREFIX, generate_id
from storefleet.core.messages import make_event_subject
from storefleet.database.outbox_rows import OutboxRow
from storefleet.observability import logs
from tests.support.http.browser import forms
from tests.support.services.polling import eventually
from tests.support.services.world import World
from tests.support.texts.samples import HARD_TITLES, REFUSED_TITLES, make_titles

GENERATED = 40


def generate_titles(count: int) -> list[str]:
    """Generate distinct valid titles, other ones in each run; a failure names its title."""
    found: dict[str, None] = {}

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(make_titles())
    def collect(title: str) -> None:
        found[title] = None

    collect()
    return list(found)


class _Facts(HTMLParser):
    """The terms and values of a page's definition lists, and its title."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self._term, self._open = "", ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag in ("dt", "bdi"):
            self._open = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._open:
            self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "dt":
            self._term = data
        elif self._open == "bdi":
            self.values[self._term] = self.values.get(self._term, "") + data


async def run_cli(world: World, *arguments: str, **variables: str) -> bytes:
    environment = {
        "PATH": os.environ["PATH"],
        "STOREFLEET_URL": world.url,
        "STOREFLEET_LIVE_URL": world.live_url,
        "STOREFLEET_TOKEN": str(world.admin.token),
        **variables,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "storefleet.cli.main", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        cwd=world.folder,
    )
    output, errors = await asyncio.wait_for(process.communicate(), timeout=60)
    assert process.returncode == 0, errors
    return output


async def test_title_is_the_same_in_every_place(world: World) -> None:
    await world.start()
    titles = list(dict.fromkeys((*HARD_TITLES, *generate_titles(GENERATED))))
    sent: dict[str, str] = {}
    for number, title in enumerate(titles):
        accepted = await world.api.create(f"texts-{number}", parameters={"title": title})
        assert accepted["store"]["parameters"]["title"] == title
        sent[accepted["store"]["id"]] = title
        await world.api.wait_until_done(accepted["operation"]["id"])
    rows = await world.fetch("SELECT id, parameters->>'title' AS title FROM stores")
    assert {row["id"]: row["title"] for row in rows} == sent
    for encoding in ("utf-8", "ascii"):
        listed = await run_cli(
            world, "stores", "list", "--all", "-o", "json", PYTHONIOENCODING=encoding
        )
        stores = json.loads(listed.decode(encoding))["data"]
        assert {each["id"]: each["parameters"]["title"] for each in stores} == sent
    browser = await world.sign_in()
    for store_id, title in sent.items():
        page = await browser.get(f"/stores/{store_id}")
        assert page.status == 200
        assert _Facts(page.text).values["Title"] == title
        assert "<script>alert" not in page.text


async def test_text_of_event_is_the_same_live_replayed_and_logged(
    world: World, logged: Callable[[], str]
) -> None:
    await world.start("gateway", "notifier")
    texts = [*HARD_TITLES, *generate_titles(GENERATED), "two\nlines\t\x1b[2J\u202e\u2028\x85"]
    tenant, store = world.admin.tenant_id, "sto_aaaaaaaaaaaaaaaa"
    row = OutboxRow(
        id="",
        kind="event",
        subject=make_event_subject(tenant, store, "store.step"),
        type="store.step",
        tenant_id=tenant,
        store_id=store,
        operation_id=None,
        data={},
    )
    async with world.listener() as live:
        await asyncio.sleep(0.2)
        async with world.database.transaction() as tx:
            rows = [
                row._replace(id=generate_id(EVENT_PREFIX), data={"message": text}) for text in texts
            ]
            await tx.outbox.add(*rows)
        await eventually(lambda: len(live.frames) == len(texts), within=30)
        assert [frame["data"]["message"] for frame in live.frames] == texts
    async with world.listener(after=0) as replayed:
        await eventually(lambda: len(replayed.frames) == len(texts), within=30)
        assert [frame["data"]["message"] for frame in replayed.frames] == texts
    for text in texts:
        logs.get_logger(__name__).info("text_seen", text=text)
    lines = [json.loads(line) for line in logged().splitlines() if "text_seen" in line]
    assert [line["text"] for line in lines] == texts
    assert logged().isascii()


async def test_token_name_is_the_same_in_every_place(platform: World) -> None:
    names = [title.strip() for title in HARD_TITLES if len(title) <= 100]
    for name in names:
        created = await platform.api.post("/tokens", {"name": name})
        assert (created.status, created.body["name"]) == (201, name)
    listed = await platform.api.get("/tokens")
    assert {token["name"] for token in listed.body["data"]} >= set(names)
    text = await run_cli(platform, "tokens", "list", "-o", "json", PYTHONIOENCODING="ascii")
    assert {token["name"] for token in json.loads(text)["data"]} >= set(names)


@pytest.mark.parametrize(("title", "sentence"), REFUSED_TITLES)
async def test_refused_title_has_same_sentence_everywhere(
    platform: World, title: str, sentence: str
) -> None:
    answer = await platform.api.post("/stores", {"name": "refused", "parameters": {"title": title}})
    assert answer.status == 422
    ((pointer, rule),) = ((each["pointer"], each["detail"]) for each in answer.body["errors"])
    assert pointer == "/parameters/title"
    if "\0" in title or "\ud800" in title:
        return  # the body is refused before its fields are read
    assert rule.startswith(sentence)
    if not title.strip() or title == "a\u2028b":
        return  # a form's empty field means the default; browsers send no line separators
    browser = await platform.sign_in()
    page = await browser.get("/stores/new")
    fields: dict[str, Any] = {"name": "refused", "parameters.shop.title": title}
    submitted = await browser.submit(page.text, "/stores/new", **fields)
    assert submitted.status == 422
    assert f"Title: {rule}" in submitted.text
    assert any(form.action == "/stores/new" for form in forms(submitted.text))
