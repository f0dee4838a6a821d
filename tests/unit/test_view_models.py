"""View models of the dashboard, and redirect targets after sign-in."""

from typing import Any

import pytest

from services.gateway.dashboard.event_texts import describe_event
from services.gateway.dashboard.sign_in import sanitize_redirect_target
from services.gateway.dashboard.view_models.create_form import (
    make_url_preview,
    parse_form_parameters,
)
from services.gateway.dashboard.view_models.operations import make_operation_view
from services.gateway.dashboard.view_models.resources import format_quantity
from services.gateway.dashboard.view_models.stores import make_notices
from services.gateway.dashboard.view_models.versions import make_versions_view
from storefleet.core.models import Event, Failure, utc_now
from storefleet.core.settings import Settings
from tests.support.dashboard import samples

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
        (
            {"factor": "nan", "size": "9" * 5000},
            {"factor": "nan", "size": "9" * 5000, "open": False},
        ),
        ({"open": "on"}, {"open": True}),
        ({"open": "maybe"}, {"open": False}),
        ({"unknown": "x"}, {"open": False}),
    ],
)
def test_form_fields_become_parameters(sent: dict[str, str], found: dict[str, Any]) -> None:
    form = {f"parameters.shop.{name}": value for name, value in sent.items()}
    assert parse_form_parameters({**form, "parameters.other.title": "x"}, "shop", SCHEMA) == found


@pytest.mark.parametrize(
    "target", ["/stores", "/", "/stores/new?x=1&y=%2F", "/stores/a#b", "/a//b"]
)
def test_own_pages_are_redirect_targets(target: str) -> None:
    assert sanitize_redirect_target(target) == target


@pytest.mark.parametrize(
    "target",
    [
        *(
            "",
            "stores",
            "//a",
            "///a",
            "/\\a",
            "\\a",
            "/a\\b",
            "http://a",
            "javascript:x",
            "/\ta",
            "/a\nb",
            "/a\r\nb",
        ),
        *("/a b", "/ä", "/\0", "/login", "/login?next=/login", " /a", "/" + "a" * 500),
    ],
)
def test_foreign_targets_are_rejected(target: str) -> None:
    assert sanitize_redirect_target(target) == "/stores"


WRONG = {"detail": "Wrong."}


def event(
    event_type: str,
    *,
    steps: tuple[tuple[str, str, str], ...] = (),
    failure: Any = None,
    **operation: Any,
) -> Event:
    shapes = [
        {"name": t.lower(), "title": t, "state": state, "message": message}
        for t, state, message in steps
    ]
    data = {"store": {"failure": failure}, "operation": {"steps": shapes, **operation}}
    return Event(
        id="evt_1",
        seq=1,
        tenant_id="t",
        store_id="s",
        operation_id="o",
        type=event_type,
        time=utc_now(),
        data=data,
    )


def observation(storefront: str, cron: str = "none") -> Event:
    store = samples.store("ready", storefront=storefront, cron=cron)
    return event("store.observed").model_copy(update={"data": {"store": store.to_json()}})


@pytest.mark.parametrize(
    ("shown", "summary"),
    [
        (event("store.requested"), "Requested"),
        (event("store.ready"), "Ready"),
        (event("store.failed", failure={"detail": "No room."}), "Failed: No room."),
        (event("store.failed", failure={"code": "cancelled", "detail": "X."}), "Cancelled"),
        (event("store.failed"), "Failed: no reason was recorded"),
        (event("store.step", steps=(("Copy", "running", "half"),)), "Copy: half"),
        (
            event("store.step", steps=(("Copy", "succeeded", ""), ("Start", "running", ""))),
            "Copy: done",
        ),
        (
            event("store.step", steps=(("Copy", "succeeded", "Copied"), ("Start", "pending", ""))),
            "Copy: Copied",
        ),
        (event("store.step", steps=(("Copy", "running", ""),)), "Copy: started"),
        (event("store.step", steps=(("Copy", "cancelled", "Cancelled"),)), "Cancelled"),
        (event("store.step"), "Queued"),
        (event("store.unknown"), "store.unknown"),
        (event("store.upgrading", kind="upgrade", input=samples.UP), "Upgrade to 11.0.2 started"),
        (event("store.upgraded", kind="upgrade", input=samples.UP), "Upgraded to 11.0.2"),
        (event("store.step", kind="upgrade", input=samples.UP), "Upgrade to 11.0.2 requested"),
        (event("store.step", kind="rollback", input=samples.DOWN), "Rollback to 11.0.1 requested"),
        (event("store.upgraded"), "Upgraded to another version"),
        (
            event("store.rolling_back", kind="upgrade", input=samples.UP, error=WRONG),
            "Rolling back to 11.0.1: Wrong.",
        ),
        (
            event("store.rolled_back", kind="upgrade", input=samples.UP, error=WRONG),
            "Rolled back to 11.0.1",
        ),
        (
            event("store.rolling_back", kind="rollback", input=samples.DOWN),
            "Rollback to 11.0.1 started",
        ),
        (event("store.rolled_back", kind="rollback", input=samples.DOWN), "Rolled back to 11.0.1"),
        (event("store.ready", kind="rollback", error=WRONG), "Not rolled back: Wrong."),
        (event("store.ready", kind="upgrade"), "Not upgraded: cancelled"),
        (observation("down"), "Storefront: not answering"),
        (observation("serving", "calling"), "Storefront: serving; scheduled tasks: running"),
        (observation("unknown"), "Storefront not checked yet"),
        (event("store.observed"), "Storefront not checked yet"),
    ],
)
def test_event_texts(shown: Event, summary: str) -> None:
    assert describe_event(shown) == summary


@pytest.mark.parametrize(
    ("chosen", "shown"),
    [
        ({"runtime": "local"}, ("http://", ".localhost", True)),
        (
            {"runtime": "simulated", "store_domain": "example.com"},
            ("http://", ".example.com", False),
        ),
        ({"runtime": "kubernetes", "store_scheme": "https"}, ("https://", ".localhost", False)),
        (
            {"runtime": "kubernetes", "store_public_port": 8080},
            ("http://", ".localhost:8080", False),
        ),
        ({"runtime": "kubernetes", "store_public_port": 80}, ("http://", ".localhost", False)),
    ],
)
def test_create_form_previews_address(chosen: dict[str, Any], shown: tuple[str, str, bool]) -> None:
    assert tuple(make_url_preview(Settings(**chosen)).values()) == shown


@pytest.mark.parametrize(
    ("quantity", "shown"),
    [
        *(
            ("1536Mi", "1.5 GiB"),
            ("768Mi", "768 MiB"),
            ("2Gi", "2 GiB"),
            ("200m", "0.2"),
            ("4", "4"),
            ("0", "0"),
        ),
        *(
            ("1048576Ki", "1 GiB"),
            ("1.5", "1.5"),
            ("1500m", "1.5"),
            ("a lot", "a lot"),
            ("", ""),
            ("1e3", "1e3"),
        ),
    ],
)
def test_quantities_are_formatted(quantity: str, shown: str) -> None:
    assert format_quantity(quantity) == shown


@pytest.mark.parametrize(
    ("state", "steps", "error", "place", "states"),
    [
        ("queued", "", None, (0, 0), ""),
        ("running", "dump* release", None, (1, 2), "running pending"),
        ("running", "dump+ release*", None, (2, 2), "succeeded running"),
        ("succeeded", "dump+ release+", None, (2, 2), "succeeded succeeded"),
        ("failed", "dump! release", samples.CRASHES, (1, 2), "failed pending"),
        (
            "running",
            "dump+ start! verify- rollback-start*",
            samples.CRASHES,
            (3, 3),
            "succeeded failed skipped running",
        ),
        (
            "failed",
            "dump+ start! verify- rollback-start+",
            samples.CRASHED,
            (3, 3),
            "succeeded failed skipped succeeded",
        ),
    ],
)
def test_operation_view_has_position(
    state: str, steps: str, error: Failure | None, place: tuple[int, int], states: str
) -> None:
    shown = make_operation_view(
        samples.operation("upgrade", state, steps, error=error, asked=samples.UP)
    )
    assert shown is not None
    assert (shown["position"], shown["total"]) == place
    assert " ".join(step["state"] for step in shown["steps"]) == states
    assert shown["is_automatic_rollback"] == ("rollback-start" in steps)


def test_versions_are_newest_first_with_older_marked() -> None:
    upgrade = samples.operation("upgrade", "succeeded", "dump+", asked=samples.UP)
    shown = make_versions_view(
        samples.store("ready"),
        samples.versioned_engine(),
        reversible_upgrade=None,
        unsupported_reason=None,
    )
    assert [(each["version"], each["older"]) for each in shown["others"]] == [
        ("11.0.2", False),
        ("10.9.0", True),
    ]
    assert shown["rollback"] is None
    newer = samples.store("ready", engine_version="11.0.2")
    shown = make_versions_view(
        newer, samples.versioned_engine(), reversible_upgrade=upgrade, unsupported_reason=None
    )
    assert shown["rollback"]["version"] == "11.0.1"
    assert shown["rollback"]["saved_at"] == "2026-11-20T10:00:00.000Z"
    gone = make_versions_view(
        samples.store("ready", engine_version="9"),
        None,
        reversible_upgrade=None,
        unsupported_reason="No.",
    )
    assert gone == {
        "current": {"version": "9", "notes": ""},
        "others": [],
        "rollback": None,
        "is_supported": False,
        "unsupported_reason": "No.",
    }


@pytest.mark.parametrize(
    ("storefront", "cron", "titles"),
    [
        ("serving", "calling", []),
        ("unknown", "none", []),
        ("closed_by_owner", "none", ["Closed by its owner"]),
        ("protected", "calling", ["Protected by a password or sign-in"]),
        ("down", "failing", ["Not answering"]),
        ("serving", "failing", ["Scheduled tasks: failing"]),
        ("serving", "closed_by_owner", ["Scheduled tasks: closed by its owner"]),
    ],
)
def test_notices_tell_what_owner_should_know(storefront: str, cron: str, titles: list[str]) -> None:
    notices = make_notices(samples.store("ready", storefront=storefront, cron=cron))
    assert [notice["title"] for notice in notices] == titles
    assert all(notice["meaning"] and notice["next"] for notice in notices)
