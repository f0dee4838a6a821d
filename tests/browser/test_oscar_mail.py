"""The mail outbox of an Oscar store, and what its pages say about mail."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest_asyncio

from tests.support.stores.oscar import (
    ADDRESS,
    fill_address,
    find_order_number,
    open_admin,
    place_order,
    put_in_basket,
    visit,
)
from tests.support.stores.oscar_containers import (
    HOST,
    MAIL_KEY,
    SIGN_IN,
    Containers,
    read_log,
)
from tests.support.texts.samples import STORE_TITLE

#: What a page must not claim: nothing is sent.
PROMISE = re.compile(
    r"e-?mail (has been|was) sent|have sent|e-?mailed you|e-?mail sent|sent (you )?an? .*e-?mail"
    r"|receiv\w+ (an|it|a confirmation)|e-?mail instructions|get an e-?mail",
    re.IGNORECASE,
)
NOTICE = "This store does not send e-mail yet"
BODY_MAX_BYTES = 256 * 1024


@pytest_asyncio.fixture
async def served(shop: Containers) -> AsyncIterator[Containers]:
    """A new store that is served, whose texts have characters that HTML escapes."""
    assert await shop.run_command("setup") == 0, read_log(shop, "setup")
    await shop.fetch_value("UPDATE catalogue_product SET title = 'Salt & \"Pepper\" <Set> 🧂'")
    await shop.fetch_value("UPDATE django_site SET name = 'Ann & Bob''s'")
    async with shop.serve():
        yield shop


async def fetch(
    shop: Containers, path: str, *, key: str | None = MAIL_KEY
) -> tuple[int, Any, dict[str, str]]:
    """Request a page of the outbox; return status, JSON or text, and headers."""
    headers = {"Host": "web.st-1.svc"} | ({"Authorization": f"Bearer {key}"} if key else {})
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{shop.at}{path}", headers=headers) as response,
    ):
        is_json = response.content_type == "application/json"
        body = await (response.json() if is_json else response.text())
        return response.status, body, dict(response.headers)


async def list_mails(shop: Containers, query: str = "") -> list[dict[str, Any]]:
    status, page, _ = await fetch(shop, f"/storefleet/mail{query}")
    assert status == 200
    mails: list[dict[str, Any]] = page["data"]
    return mails


async def buy(shop: Containers) -> tuple[str | None, str]:
    """Buy as a guest; return the number and the thank-you page."""
    async with visit(shop.url, at=shop.at) as visitor:
        await put_in_basket(visitor)
        await fill_address(visitor, {**ADDRESS, "line1": "Smith & Sons' Yard"})
        page = await place_order(visitor, await visitor.get("/checkout/preview/"))
        return find_order_number(page), page


async def write_template(
    shop: Containers, subject: str, text: str, html: str | None = None
) -> None:
    """Write the owner's own templates of the confirmation of orders."""
    connection = await shop.open_connection()
    try:
        await connection.execute(
            "INSERT INTO communication_communicationeventtype (code, name, category,"
            " email_subject_template, email_body_template, email_body_html_template, date_created,"
            " date_updated)"
            " VALUES ('ORDER_PLACED', 'Order placed', 'Order related', $1, $2, $3, now(), now())"
            " ON CONFLICT (code) DO UPDATE SET email_subject_template = $1,"
            " email_body_template = $2, email_body_html_template = $3",
            subject,
            text,
            html,
        )
    finally:
        await connection.close()


async def test_confirmation_of_order_is_in_outbox_without_html_escapes(
    served: Containers,
) -> None:
    number, _ = await buy(served)
    (mail,) = await list_mails(served)
    assert mail["to"] == ["guest@example.com"]
    assert number is not None
    assert number in mail["subject"]
    assert mail["from"] == f"{STORE_TITLE} <shop@{HOST}>"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", mail["created_at"])
    status, whole, headers = await fetch(served, f"/storefleet/mail/{mail['id']}")
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    assert {key: whole[key] for key in mail} == mail
    assert 'Salt & "Pepper" <Set> 🧂' in whole["text"]
    assert "Smith & Sons' Yard" in whole["text"]
    assert "Salt &amp; &quot;Pepper&quot; &lt;Set&gt; 🧂" in whole["html"]
    assert whole["truncated"] is False


async def test_all_text_mails_are_not_escaped(served: Containers) -> None:
    """Mails from files, and from templates that the owner wrote on the dashboard."""
    async with visit(served.url, at=served.at) as visitor:
        page = await visitor.get("/accounts/login/")
        account = {
            "registration-email": "ann@example.com",
            "registration-password1": "a-long-password",
            "registration-password2": "a-long-password",
            "registration_submit": "Register",
        }
        await visitor.post("/accounts/login/", account, page=page)
    async with visit(served.url, at=served.at) as visitor:
        page = await visitor.get("/password-reset/")
        await visitor.post("/password-reset/", {"email": "ann@example.com"}, page=page)
    await write_template(
        served, "From {{ site.name }}", "From {{ site.name }}", "<p>From {{ site.name }}</p>"
    )
    assert (await buy(served))[0]
    mails = [
        (await fetch(served, f"/storefleet/mail/{mail['id']}"))[1]
        for mail in await list_mails(served)
    ]
    assert [mail["to"] for mail in mails] == [
        ["guest@example.com"],
        ["ann@example.com"],
        ["ann@example.com"],
    ]
    assert mails[0]["subject"] == mails[0]["text"] == "From Ann & Bob's"
    assert mails[0]["html"] == "<p>From Ann &amp; Bob&#x27;s</p>"
    assert "Ann & Bob's" in mails[1]["text"]
    assert f"http://{HOST}/password-reset/confirm/" in mails[1]["text"]
    for mail in mails:
        assert not re.search(r"&(amp|quot|lt|gt|#x27|#39);", mail["text"] + mail["subject"])


async def test_order_is_placed_when_mail_cannot_be_written_or_kept(served: Containers) -> None:
    await write_template(served, "x", "{% broken")
    assert (await buy(served))[0], "the owner's template is broken"
    await write_template(served, "x", "x")
    await served.fetch_value("ALTER TABLE storefleet_oscar_outboxmail RENAME TO elsewhere")
    assert (await buy(served))[0], "the outbox is broken"
    await served.fetch_value("ALTER TABLE elsewhere RENAME TO storefleet_oscar_outboxmail")
    assert await served.fetch_value("SELECT count(*) FROM order_order") == 2


async def test_outbox_keeps_newest_200_in_pages_with_cut_bodies(served: Containers) -> None:
    await served.fetch_value(
        "INSERT INTO storefleet_oscar_outboxmail (created_at, sender, recipients, subject, text,"
        " is_truncated) SELECT now(), 's', '[\"a@b\"]', 'No ' || n, 'x', false"
        " FROM generate_series(1, 250) n"
    )
    await write_template(served, "long", f"a{'é' * 200_000}", "<p>short</p>")
    assert (await buy(served))[0]
    assert await served.fetch_value("SELECT count(*) FROM storefleet_oscar_outboxmail") == 200
    seen: list[str] = []
    query = "?limit=30"
    while True:
        _, page, _ = await fetch(served, f"/storefleet/mail{query}")
        seen += [mail["subject"] for mail in page["data"]]
        if not page["has_more"]:
            break
        query = f"?limit=30&before={page['data'][-1]['id']}"
    assert seen == ["long", *(f"No {number}" for number in range(250, 51, -1))]
    (newest,) = await list_mails(served, "?limit=1")
    _, whole, _ = await fetch(served, f"/storefleet/mail/{newest['id']}")
    assert whole["truncated"] is True
    assert BODY_MAX_BYTES - 2 <= len(whole["text"].encode()) <= BODY_MAX_BYTES
    assert whole["html"] == "<p>short</p>"


async def test_outbox_without_right_key_is_unknown_path(served: Containers) -> None:
    unknown = (await fetch(served, "/storefleet/nothing", key=None))[0]
    for path in ("/storefleet/mail", "/storefleet/mail?limit=5", "/storefleet/mail/1"):
        for key in (None, "", "wrong", MAIL_KEY + "x", MAIL_KEY[:-1], "\u00fc"):
            assert (await fetch(served, path, key=key))[0] == unknown == 404, (path, key)
    for query in ("?limit=0", "?limit=101", "?limit=x", "?before=x", "?before=-1"):
        assert (await fetch(served, f"/storefleet/mail{query}"))[0] == 400, query
    assert (await fetch(served, "/storefleet/mail/999"))[0] == 404
    served_key = served.folder / "mail-key"
    served_key.rename(served_key.with_suffix(".away"))
    try:
        for key in ("", MAIL_KEY):
            assert (await fetch(served, "/storefleet/mail", key=key))[0] == 404
    finally:
        served_key.with_suffix(".away").rename(served_key)
    assert (await fetch(served, "/storefleet/mail"))[0] == 200


async def test_no_page_promises_mail_and_dashboard_says_so(served: Containers) -> None:
    await served.fetch_value(
        "UPDATE partner_stockrecord SET num_in_stock = 0 WHERE partner_sku = 'SF-TOTE-01'"
    )
    tote = await served.fetch_value("SELECT id FROM catalogue_product WHERE upc = 'SF-TOTE-01'")
    pages = {"thank you": (await buy(served))[1]}
    async with visit(served.url, at=served.at) as visitor:
        for path in ("/password-reset/", f"/catalogue/x_{tote}/", "/accounts/login/"):
            pages[path] = await visitor.get(path)
        pages["alert"] = await visitor.post(
            f"/accounts/alerts/create/{tote}/",
            {"email": "b@example.com"},
            page=pages[f"/catalogue/x_{tote}/"],
        )
        pages["alert again"] = await visitor.post(
            f"/accounts/alerts/create/{tote}/", {"email": "b@example.com"}, page=pages["alert"]
        )
        pages["reset"] = await visitor.post(
            "/password-reset/", {"email": SIGN_IN["username"]}, page=pages["/password-reset/"]
        )
    async with open_admin(served.url, SIGN_IN, at=served.at) as admin:
        user = await served.fetch_value("SELECT max(id) FROM auth_user")
        for path in ("/dashboard/", "/dashboard/comms/", f"/dashboard/users/{user}/"):
            pages[path] = await admin.get(path)
            assert NOTICE in pages[path], path
        pages["reset by owner"] = await admin.post(
            f"/dashboard/users/{user}/password-reset/", {}, page=pages[f"/dashboard/users/{user}/"]
        )
        await served.fetch_value(
            "INSERT INTO communication_communicationeventtype (code, name, category, date_created,"
            " date_updated) VALUES ('REGISTRATION', 'Registration', 'User related', now(), now())"
        )
        comms = "/dashboard/comms/REGISTRATION/"
        pages[comms] = await admin.get(comms)
        preview = {
            "name": "Registration",
            "email_subject_template": "x",
            "email_body_template": "x",
            "email_body_html_template": "x",
            "preview_email": "a@example.com",
            "send_preview": "",
        }
        pages["preview"] = await admin.post(comms, preview, page=pages[comms])
        assert "is in the store&#x27;s mail outbox" in pages["preview"]
    for name, page in pages.items():
        text = re.sub(r"<[^>]+>", " ", page)
        found = PROMISE.search(re.sub(r"\s+", " ", text))
        assert found is None, (name, found and found.group(0))


async def test_concurrent_orders_are_all_in_outbox(served: Containers) -> None:
    orders = await asyncio.gather(*(buy(served) for _ in range(6)))
    assert len({number for number, _ in orders}) == 6
    subjects = " ".join(mail["subject"] for mail in await list_mails(served))
    assert all(str(number) in subjects for number, _ in orders)
