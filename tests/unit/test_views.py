"""What the pages draw, and where they send people."""

from typing import Any

import pytest

from services.gateway.sentences import sentence
from services.gateway.sign_in import local
from services.gateway.views import form_parameters
from storefleet.models import Event, now

SCHEMA: dict[str, Any] = {
    "properties": {
        "title": {"type": "string"},
        "size": {"type": "integer"},
        "factor": {"type": "number"},
        "open": {"type": "boolean", "default": True},
    }
}


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ({}, {"open": False}),
        (
            {"title": " x ", "size": " 3 ", "factor": "1.5", "open": "true"},
            {"title": "x", "size": 3, "factor": 1.5, "open": True},
        ),
        ({"title": "", "size": "", "factor": "  "}, {"open": False}),
        ({"size": "many", "factor": "inf"}, {"size": "many", "factor": "inf", "open": False}),
        ({"factor": "nan", "size": "9" * 5000}, {"factor": "nan", "size": "9" * 5000, "open": False}),
        ({"open": "on"}, {"open": True}),
        ({"open": "maybe"}, {"open": False}),
        ({"unknown": "x"}, {"open": False}),
    ],
)
def test_form_fields_become_parameters(sent: dict[str, str], found: dict[str, Any]) -> None:
    form = {f"parameters.shop.{name}": value for name, value in sent.items()}
    assert form_parameters({**form, "parameters.other.title": "x"}, "shop", SCHEMA) == found


@pytest.mark.parametrize("target", ["/stores", "/", "/stores/new?x=1&y=%2F", "/stores/a#b", "/a//b"])
def test_pages_of_ours(target: str) -> None:
    assert local(target) == target


@pytest.mark.parametrize(
    "target",
    [
        *("", "stores", "//a", "///a", "/\\a", "\\a", "/a\\b", "http://a", "javascript:x", "/\ta", "/a\nb", "/a\r\nb"),
        *("/a b", "/ä", "/\0", "/login", "/login?next=/login", " /a", "/" + "a" * 500),
    ],
)
def test_everything_else(target: str) -> None:
    assert local(target) == "/stores"


def event(event_type: str, *, steps: tuple[tuple[str, str, str], ...] = (), failure: Any = None) -> Event:
    shapes = [{"name": t.lower(), "title": t, "state": state, "message": message} for t, state, message in steps]
    data = {"store": {"failure": failure}, "operation": {"steps": shapes}}
    return Event(
        id="evt_1", seq=1, tenant_id="t", store_id="s", operation_id="o", type=event_type, time=now(), data=data
    )


@pytest.mark.parametrize(
    ("shown", "summary"),
    [
        (event("store.requested"), "Requested"),
        (event("store.ready"), "Ready"),
        (event("store.failed", failure={"detail": "No room."}), "Failed: No room."),
        (event("store.failed"), "Failed: no reason was given"),
        (event("store.step", steps=(("Copy", "running", "half"),)), "Copy: half"),
        (event("store.step", steps=(("Copy", "succeeded", ""), ("Start", "running", ""))), "Copy: done"),
        (event("store.step", steps=(("Copy", "succeeded", "Copied"), ("Start", "pending", ""))), "Copy: Copied"),
        (event("store.step", steps=(("Copy", "running", ""),)), "Copy"),
        (event("store.step", steps=(("Copy", "cancelled", "Cancelled"),)), "Cancelled"),
        (event("store.step"), "Waiting"),
        (event("store.unknown"), "store.unknown"),
    ],
)
def test_every_event_has_a_sentence(shown: Event, summary: str) -> None:
    assert sentence(shown) == summary
