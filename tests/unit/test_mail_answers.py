"""Answers of a store about its mails: what breaks the protocol, and what is cut."""

import json
from typing import Any

import pytest

from services.gateway.mail_answers import BrokenAnswer, parse_mail, parse_mail_page
from tests.support.http.mail_store import make_mail


def listed(*ids: str, has_more: bool = False, **fields: Any) -> str:
    mails = [{**make_mail(1), **fields, "id": number} for number in ids]
    return json.dumps({"data": mails, "has_more": has_more})


BROKEN_LISTS = {
    "no json": b"<html>Coming soon</html>",
    "nothing": b"",
    "no object": b"[]",
    "no data": b'{"has_more": false}',
    "deep": b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b',"has_more":false}',
    "not utf-8": b'{"data":[],"has_more":false,"x":"\xff"}',
    "lone surrogate": listed("1", subject="\ud83d").encode(),
    "id with letters": listed("1a"),
    "id too long": listed("1" * 20),
    "id with line feed": listed("1\n"),
    "id of other digits": listed("\u0661"),
    "numeric id": listed("1").replace('"1"', "1"),
    "empty id": listed(""),
    "ascending": listed("1", "2"),
    "twice": listed("2", "2"),
    "newer than requested": listed("10"),
    "too many": listed("8", "7", "6", "5"),
    "endless": listed(has_more=True),
    "no time": listed("1", created_at="yesterday"),
    "local time": listed("1", created_at="2026-12-01T10:00:00"),
    "time before the calendar": listed("1", created_at="0001-01-01T00:00:00+14:00"),
    "numeric time": listed("1", created_at=1_796_000_000),
    "recipients as text": listed("1", to="ann@example.com"),
    "no subject": listed("1", subject=None),
}


@pytest.mark.parametrize("answer", BROKEN_LISTS.values(), ids=BROKEN_LISTS)
def test_broken_list_is_rejected_without_quoting_it(answer: bytes | str) -> None:
    body = answer if isinstance(answer, bytes) else answer.encode()
    with pytest.raises(BrokenAnswer) as broken:
        parse_mail_page(body, limit=3, before="9")
    assert "example.com" not in str(broken.value)
    assert "Your order" not in str(broken.value)
    assert broken.value.__cause__ is None


def test_list_of_the_bounds_is_accepted() -> None:
    page = parse_mail_page(listed("8", "7", "0", has_more=True).encode(), limit=3, before="9")
    assert [mail.id for mail in page.data] == ["8", "7", "0"]
    assert page.has_more
    newest = parse_mail_page(listed("9" * 19, "1").encode(), limit=2, before=None)
    assert len(newest.data) == 2
    assert parse_mail_page(listed().encode(), limit=1, before=None).data == ()


@pytest.mark.parametrize("time", ["2026-12-01T10:00:00Z", "2026-12-01T11:00:00+01:00"])
def test_time_is_shown_in_utc(time: str) -> None:
    page = parse_mail_page(listed("1", created_at=time).encode(), limit=1, before=None)
    assert page.data[0].to_json()["created_at"] == "2026-12-01T10:00:00.000Z"


BROKEN_MAILS = {
    "another mail": make_mail(2),
    "no bodies": {name: value for name, value in make_mail(1).items() if name != "html"},
    "body of objects": make_mail(1, html={"a": 1}),
    "null": None,
    "truncated is a text": make_mail(1, truncated="yes"),
}


@pytest.mark.parametrize("answer", BROKEN_MAILS.values(), ids=BROKEN_MAILS)
def test_broken_mail_is_rejected(answer: Any) -> None:
    with pytest.raises(BrokenAnswer):
        parse_mail(json.dumps(answer).encode(), mail_id="1")


def test_body_is_cut_between_characters() -> None:
    size = 256 << 10
    text, html = "a" + "\U0001f6cd" * (size // 4), "h" * size
    mail = parse_mail(json.dumps(make_mail(1, text=text, html=html)).encode(), mail_id="1")
    assert mail.text == text[:-1]
    assert mail.html == html
    assert mail.truncated
    whole = parse_mail(json.dumps(make_mail(1, text=html, html=None)).encode(), mail_id="1")
    assert (whole.text, whole.html, whole.truncated) == (html, None, False)
