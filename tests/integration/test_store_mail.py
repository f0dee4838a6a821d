"""Mails of a store over the API and the dashboard, from a real web server that may be hostile."""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from services.gateway import mail_client
from tests.support.http.mail_store import (
    KEY,
    MailStore,
    Misbehaviour,
    add_store,
    make_mail,
    run_mail_store,
    write_postal_engine,
)
from tests.support.services.polling import eventually
from tests.support.services.world import World


@pytest_asyncio.fixture
async def store(world: World, tmp_path: Path) -> AsyncIterator[MailStore]:
    """A gateway on the local runtime, and the web server of its ready store `acme`."""
    async with run_mail_store() as server:
        await world.start(
            "gateway",
            runtime="local",
            engines_path=(write_postal_engine(tmp_path / "engines"),),
            default_engine="postal",
        )
        await add_store(world, "acme", port=server.port)
        yield server


async def make_token(world: World, *scopes: str) -> str:
    made = await world.api.post("/tokens", {"name": "mail", "scopes": list(scopes)})
    assert made.status == 201, made.text
    return str(made.body["token"])


async def test_list_is_read_newest_first_in_pages(world: World, store: MailStore) -> None:
    assert (await world.api.get("/stores/acme/mail")).body == {"data": [], "has_more": False}
    store.mails = [make_mail(number) for number in range(1, 31)]
    first = await world.api.get("/stores/acme/mail")
    assert first.status == 200
    assert first.headers["Cache-Control"] == "no-store"
    assert [mail["id"] for mail in first.body["data"]] == [str(n) for n in range(30, 5, -1)]
    assert first.body["has_more"] is True
    assert first.body["data"][0] == {
        "id": "30",
        "created_at": "2026-11-30T00:53:50.000Z",
        "from": "Acme <shop@acme.localhost>",
        "to": ["customer-30@example.com"],
        "subject": "Your order 30",
    }
    second = await world.api.get("/stores/acme/mail?limit=3&starting_after=6")
    assert [mail["id"] for mail in second.body["data"]] == ["5", "4", "3"]
    last = await world.api.get("/stores/acme/mail?starting_after=3")
    assert ([mail["id"] for mail in last.body["data"]], last.body["has_more"]) == (
        ["2", "1"],
        False,
    )


async def test_request_reaches_store_with_its_host_and_key(world: World, store: MailStore) -> None:
    await world.api.get(
        "/stores/acme/mail?limit=7&starting_after=9", headers={"X-Request-Id": "r" * 9}
    )
    ((path, headers),) = store.requests
    assert path == "/storefleet/mail?limit=7&before=9"
    assert headers["Host"] == f"acme.localhost:{store.port}"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert headers["X-Request-Id"] == "r" * 9
    assert headers["X-Forwarded-Proto"] == "http"
    assert "Cookie" not in headers


async def test_opened_mail_has_bodies_and_an_audit_entry(world: World, store: MailStore) -> None:
    store.mails = [make_mail(17, text=None)]
    opened = await world.api.get("/stores/acme/mail/17", headers={"X-Request-Id": "opened-17"})
    assert opened.status == 200
    assert opened.headers["Cache-Control"] == "no-store"
    assert (opened.body["text"], opened.body["html"], opened.body["truncated"]) == (
        None,
        "<p>Thank you for order 17.</p>",
        False,
    )
    entries = await world.fetch("SELECT * FROM audit WHERE action = 'mail.open'")
    store_id = await world.value("SELECT id FROM stores")
    assert [(entry["target"], entry["request_id"]) for entry in entries] == [
        (store_id, "opened-17")
    ]
    missing = await world.api.get("/stores/acme/mail/18")
    assert (missing.status, missing.body["code"]) == (404, "not_found")
    assert await world.value("SELECT count(*) FROM audit WHERE action = 'mail.open'") == 1


async def test_opening_needs_credentials_scope_and_listing_does_not(
    world: World, store: MailStore
) -> None:
    store.mails = [make_mail(1)]
    reader = world.api.with_token(await make_token(world, "stores:read"))
    assert (await reader.get("/stores/acme/mail")).status == 200
    refused = await reader.get("/stores/acme/mail/1")
    assert (refused.status, refused.body["code"]) == (403, "scope_missing")
    keeper = world.api.with_token(await make_token(world, "credentials:read"))
    assert (await keeper.get("/stores/acme/mail/1")).status == 200
    assert (await keeper.get("/stores/acme/mail")).status == 403
    assert (await world.api.with_token(None).get("/stores/acme/mail")).status == 401


async def test_other_tenant_reads_nothing_and_store_is_not_asked(
    world: World, store: MailStore
) -> None:
    store.mails = [make_mail(1)]
    store_id = await world.value("SELECT id FROM stores")
    browser = await world.sign_in(world.other)
    for ref in ("acme", store_id):
        for path in ("mail", "mail/1"):
            answer = await world.other_api.get(f"/stores/{ref}/{path}")
            assert (answer.status, answer.body["code"]) == (404, "not_found")
        for path in ("mail", "mail/1", "mail/1/html"):
            assert (await browser.get(f"/stores/{ref}/{path}")).status == 404
    assert store.requests == []


INVALID_PATHS = {
    "mail?limit=0": 422,
    "mail?limit=101": 422,
    "mail?starting_after=": 422,
    "mail?starting_after=x": 422,
    "mail?starting_after=" + "9" * 20: 422,
    "mail?starting_after=-1": 422,
    "mail?starting_after=%D9%A1": 422,  # a digit, but not an ASCII one
    "mail/x": 404,
    "mail/" + "9" * 20: 404,
    "mail/..%2F..%2Fadmin": 404,
    "mail/1%3Fa": 404,
    "mail/1%0d%0a": 404,
}


async def test_invalid_parameters_do_not_reach_the_store(world: World, store: MailStore) -> None:
    answers = {path: (await world.api.get(f"/stores/acme/{path}")).status for path in INVALID_PATHS}
    assert answers == INVALID_PATHS
    assert store.requests == []


async def test_broken_answers_are_explained_without_their_content(
    world: World, store: MailStore
) -> None:
    browser = await world.sign_in()
    for answer in (b"<html>Coming soon</html>", b'{"data":[{"id":"7","subject":"private"}]}', b""):
        store.answer = answer
        for path in ("mail", "mail/7"):
            refused = await world.api.get(f"/stores/acme/{path}")
            assert (refused.status, refused.body["code"]) == (502, "store_mail_unavailable")
            assert refused.body["detail"].startswith(
                "The store acme does not answer with its mails"
            )
            page = await browser.get(f"/stores/acme/{path}")
            assert (page.status, 'id="mail-problem"' in page.text) == (502, True)
            assert "private" not in refused.text + page.text
    assert await world.value("SELECT count(*) FROM audit WHERE action = 'mail.open'") == 0


async def test_long_texts_are_cut_and_unknown_fields_ignored(
    world: World, store: MailStore
) -> None:
    store.mails = [
        make_mail(
            3,
            subject="s" * 5000,
            to=["t" * 2000] * 80,
            text="\U0001f6cd" * 70_000,
            html="h" * (256 << 10),
            password="ignored",
        )
    ]
    (summary,) = (await world.api.get("/stores/acme/mail")).body["data"]
    assert len(summary["subject"]) == 1000
    assert summary["subject"].endswith("…")
    assert len(summary["to"]) == 50
    mail = (await world.api.get("/stores/acme/mail/3")).body
    assert len(mail["text"].encode()) == 256 << 10
    assert len(mail["html"]) == 256 << 10
    assert mail["truncated"] is True
    assert "password" not in mail


async def redirect(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": "/storefleet/mail-elsewhere"})


async def compress(_request: web.Request) -> web.StreamResponse:
    body = gzip.compress(b'{"data":[],"has_more":false,"x":"' + b"0" * (8 << 20) + b'"}')
    return web.Response(body=body, headers={"Content-Encoding": "gzip"})


async def send_too_much(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(64 << 4):
        await response.write(b" " * (64 << 10))
    return response


async def fail(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=500, text="stack trace with a secret")


async def be_in_maintenance(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=503, text="Briefly unavailable")


async def hang_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def send_huge_header(_request: web.Request) -> web.StreamResponse:
    return web.json_response({}, headers={"X-Long": "x" * 100_000})


async def drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(1000):
        await response.write(b" ")
        await asyncio.sleep(0.05)
    return response


MISBEHAVIOURS: tuple[tuple[Misbehaviour, int, str], ...] = (
    (redirect, 502, "answers 302 instead of its mails"),
    (compress, 502, "the answer is compressed"),
    (send_too_much, 502, "the answer is larger than 2 MiB"),
    (fail, 502, "answers 500 instead of its mails"),
    (be_in_maintenance, 503, "answers 503 instead of its mails"),
    (hang_up, 503, "does not answer (ServerDisconnectedError)"),
    (send_huge_header, 503, "does not answer ("),
    (drip, 503, "does not answer within 0.5 s"),
)


async def test_misbehaving_store_is_explained(
    world: World, store: MailStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail_client, "_TOTAL_TIMEOUT_S", 0.5)
    browser = await world.sign_in()
    for misbehaviour, status, text in MISBEHAVIOURS:
        store.misbehaviour = misbehaviour
        store.requests.clear()
        refused = await world.api.get("/stores/acme/mail")
        assert (refused.status, refused.body["code"]) == (status, "store_mail_unavailable"), text
        assert text in refused.body["detail"]
        assert "secret" not in refused.text
        assert ("Retry-After" in refused.headers) == (status == 503)
        assert {path for path, _headers in store.requests} == {"/storefleet/mail?limit=25"}
        page = await browser.get("/stores/acme/mail")
        assert page.status == status
        assert 'id="mail-problem"' in page.text
        assert "Mail is unavailable" in page.text
    store.misbehaviour = None  # no fetch is counted any more
    assert (await world.api.get("/stores/acme/mail")).status == 200


async def test_unreachable_store_is_explained(world: World, store: MailStore) -> None:
    await world.execute("UPDATE placements SET port = $1", world.ports.take())
    refused = await world.api.get("/stores/acme/mail")
    assert (refused.status, refused.body["code"]) == (503, "store_mail_unavailable")
    assert "does not answer (ClientConnectorError)" in refused.body["detail"]
    await world.execute("UPDATE placements SET observed = 'crashing'")
    refused = await world.api.get("/stores/acme/mail")
    assert (refused.status, refused.body["code"]) == (503, "runtime_unavailable")
    page = await (await world.sign_in()).get("/stores/acme/mail")
    assert "The process of the store acme does not run now." in page.text


async def test_slow_store_holds_up_its_tenant_only(world: World, store: MailStore) -> None:
    store.is_held.clear()
    waiting = [asyncio.create_task(world.api.get("/stores/acme/mail")) for _ in range(4)]
    await eventually(lambda: len(store.requests) == 4)
    refused = await world.api.get("/stores/acme/mail")
    assert (refused.status, refused.body["code"]) == (429, "rate_limited")
    assert refused.headers["Retry-After"] == "2"
    await world.execute(
        "UPDATE stores SET tenant_id = $1 WHERE name = 'acme'", world.other.tenant_id
    )
    other = asyncio.create_task(world.other_api.get("/stores/acme/mail"))
    await eventually(lambda: len(store.requests) == 5)
    store.is_held.set()
    assert {answer.status for answer in await asyncio.gather(*waiting, other)} == {200}
    assert (await world.other_api.get("/stores/acme/mail")).status == 200


async def test_limit_of_all_tenants_holds(
    world: World, store: MailStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail_client, "_MAX_FETCHES", 1)
    store.is_held.clear()
    waiting = asyncio.create_task(world.api.get("/stores/acme/mail"))
    await eventually(lambda: len(store.requests) == 1)
    assert (await world.api.get("/stores/acme/mail")).status == 429
    store.is_held.set()
    assert (await waiting).status == 200


async def test_store_without_outbox_is_explained(world: World, store: MailStore) -> None:
    await add_store(world, "older", port=world.ports.take(), key=None)
    refused = await world.api.get("/stores/older/mail")
    assert (refused.status, refused.body["code"]) == (409, "no_mail_outbox")
    assert "Restart the platform, which adds it." in refused.body["detail"]
    page = await (await world.sign_in()).get("/stores/older/mail")
    assert page.status == 409
    assert "No mail to show" in page.text

    await world.api.create("young", engine="postal")
    refused = await world.api.get("/stores/young/mail")
    assert (refused.status, refused.body["code"]) == (409, "no_mail_outbox")
    assert "The store is requested" in refused.body["detail"]

    store.misbehaviour = lambda _request: answer_not_found()
    refused = await world.api.get("/stores/acme/mail")
    assert (refused.status, refused.body["code"]) == (502, "store_mail_unavailable")
    assert "answers 404 instead of its mails" in refused.body["detail"]


async def answer_not_found() -> web.StreamResponse:
    return web.Response(status=404)


async def test_simulated_store_has_no_mails(world: World) -> None:
    await world.start("gateway", "provisioner")
    made = await world.api.create("acme")
    await world.api.wait_until_done(made["operation"]["id"])
    refused = await world.api.get("/stores/acme/mail")
    assert (refused.status, refused.body["code"]) == (409, "no_mail_outbox")
    assert "is simulated" in refused.body["detail"]


async def test_key_is_in_no_answer_and_no_log(
    world: World, store: MailStore, capfd: pytest.CaptureFixture[str], caplog: Any
) -> None:
    store.mails = [make_mail(1)]
    browser = await world.sign_in()
    seen = []
    for misbehaviour in (None, fail, hang_up, redirect):
        store.misbehaviour = misbehaviour
        for path in ("mail", "mail/1"):
            seen.append((await world.api.get(f"/stores/acme/{path}")).text)
            seen.append((await browser.get(f"/stores/acme/{path}")).text)
    assert any("Your order 1" in text for text in seen)
    logged = capfd.readouterr()
    for text in (*seen, logged.out, logged.err, caplog.text):
        assert KEY not in text
        assert "customer-1@example.com" not in (logged.out, logged.err)


# The dashboard


async def test_pages_show_list_and_mail(world: World, store: MailStore) -> None:
    browser = await world.sign_in()
    shown = await browser.get("/stores/acme")
    assert "This store does not send e-mail yet. What it would have sent is here." in shown.text
    store_id = await world.value("SELECT id FROM stores")
    assert f'href="/stores/{store_id}/mail"' in shown.text
    empty = await browser.get("/stores/acme/mail")
    assert "No mails yet" in empty.text

    store.mails = [make_mail(number) for number in range(1, 31)]
    page = await browser.get("/stores/acme/mail")
    assert re.findall(r'data-mail-id="(\d+)"', page.text) == [str(n) for n in range(30, 5, -1)]
    assert f'href="/stores/{store_id}/mail?starting_after=6"' in page.text
    older = await browser.get("/stores/acme/mail?starting_after=6")
    assert re.findall(r'data-mail-id="(\d+)"', older.text) == ["5", "4", "3", "2", "1"]
    assert (await browser.get("/stores/acme/mail?starting_after=x")).status == 422
    assert "No older mails" in (await browser.get("/stores/acme/mail?starting_after=1")).text

    mail = await browser.get("/stores/acme/mail/7")
    assert "Your order 7" in mail.text
    assert "Thank you for order 7." in mail.text
    assert "customer-7@example.com" in mail.text
    assert f'src="/stores/{store_id}/mail/7/html" sandbox=""' in mail.text
    assert await world.value("SELECT count(*) FROM audit WHERE action = 'mail.open'") == 1
    assert (await browser.get("/stores/acme/mail/99")).status == 404


async def test_html_is_served_in_a_sandbox_only(world: World, store: MailStore) -> None:
    html = "<script>alert(1)</script><b>Olá \U0001f6cd</b>"
    store.mails = [make_mail(1, html=html), make_mail(2, html=None)]
    browser = await world.sign_in()
    answer = await browser.get("/stores/acme/mail/1/html")
    assert (answer.status, answer.text) == (200, html)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.split("; ")[:2] == ["sandbox", "default-src 'none'"]
    assert "script-src" not in policy
    assert "allow-" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert (await browser.get("/stores/acme/mail/2/html")).status == 404
    browser.cookie = None
    assert (await browser.get("/stores/acme/mail/1/html")).status == 303


async def test_hostile_texts_are_escaped_on_pages(world: World, store: MailStore) -> None:
    store.mails = [
        make_mail(
            1,
            subject="<img src=x onerror=alert(1)> \u202egpj.exe\x1b\x00",
            to=['"><script>alert(2)</script>@example.com'],
            text="</pre><script>alert(3)</script>\nsecond line",
            **{"from": "\u2066a\u2069 <a@b>"},
        )
    ]
    browser = await world.sign_in()
    for path in ("mail", "mail/1"):
        page = (await browser.get(f"/stores/acme/{path}")).text
        for unsafe in ("<img src=x", "<script>alert", "\u202e", "\u2066", "\x1b", "\x00"):
            assert unsafe not in page
        assert "&lt;img src=x onerror=alert(1)&gt; \ufffdgpj.exe\ufffd\ufffd" in page
    assert "&lt;/pre&gt;&lt;script&gt;alert(3)&lt;/script&gt;\nsecond line" in page
