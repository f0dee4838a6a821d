"""Public fields, times and identifiers of the models."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from storefleet.core.identifiers import STORE_PREFIX, generate_id, is_id, make_resource_name
from storefleet.core.models import (
    AdminCredentials,
    Failure,
    Operation,
    Principal,
    Step,
    Store,
    format_timestamp,
)
from storefleet.database.outbox_rows import make_event_data

THEN = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)


def store(**changes: object) -> Store:
    fields = {
        "id": "sto_aaaaaaaaaaaaaaaa",
        "tenant_id": "ten_aaaaaaaaaaaaaaaa",
        "name": "acme",
        "engine": "shop",
        "engine_version": "1",
        "parameters": {"x": 1},
        "state": "failed",
        "url": None,
        "admin_url": None,
        "failure": Failure(code="c", detail="d", next="n"),
        "created_at": THEN,
        "ready_at": None,
        "deleted_at": None,
        "version": 3,
    }
    return Store.model_validate({**fields, **changes})


def operation(**changes: object) -> Operation:
    fields = {
        "id": "op_aaaaaaaaaaaaaaaa",
        "tenant_id": "ten_aaaaaaaaaaaaaaaa",
        "store_id": "sto_aaaaaaaaaaaaaaaa",
        "kind": "create",
        "state": "queued",
        "error": None,
        "attempt": 1,
        "cancel_requested": False,
        "fence": 0,
        "request_id": None,
        "deadline": THEN,
        "run_after": THEN,
        "created_at": THEN,
        "started_at": None,
        "finished_at": None,
    }
    return Operation.model_validate({**fields, **changes})


def test_times_are_utc_with_z_suffix() -> None:
    assert format_timestamp(None) is None
    assert format_timestamp(THEN) == "2026-01-02T03:04:05.678Z"
    assert (
        format_timestamp(THEN.astimezone(timezone(timedelta(hours=5, minutes=30))))
        == "2026-01-02T03:04:05.678Z"
    )


def test_store_public_fields() -> None:
    shape = store().to_json()
    assert shape["failure"] == {
        "code": "c",
        "detail": "d",
        "step": None,
        "next": "n",
        "retryable": True,
    }
    assert shape["created_at"] == "2026-01-02T03:04:05.678Z"
    assert shape["version"] == 3
    assert "secret" not in shape


@pytest.mark.parametrize(
    ("state", "done"),
    [
        ("queued", False),
        ("running", False),
        ("succeeded", True),
        ("failed", True),
        ("cancelled", True),
    ],
)
def test_operation_is_done_in_final_states(state: str, done: bool) -> None:
    assert operation(state=state).done is done
    assert operation(state=state).to_json()["done"] is done


def test_event_contains_store_and_operation_without_parameters() -> None:
    data = make_event_data(store(), operation(steps=(Step(name="a", title="A"),)))
    assert "parameters" not in data["store"]
    assert data["operation"]["steps"][0]["state"] == "pending"
    assert make_event_data(store(), None).keys() == {"store"}


def test_models_are_immutable() -> None:
    with pytest.raises(ValidationError):
        store().name = "other"  # type: ignore[misc]


def test_password_is_hidden_in_repr() -> None:
    assert "hush" not in repr(AdminCredentials("http://x", "admin", "hush"))


def test_principal_has_granted_scopes_only() -> None:
    caller = Principal(
        tenant_id="t",
        tenant_name="T",
        user_id="u",
        email="e",
        operator=False,
        scopes=frozenset({"stores:read"}),
    )
    assert caller.has_scope("stores:read")
    assert not caller.has_scope("stores:write")


def test_identifiers_have_prefix_and_length() -> None:
    made = {generate_id(STORE_PREFIX) for _ in range(1000)}
    assert len(made) == 1000
    assert all(re.fullmatch(r"sto_[a-z0-9]{16}", one) and is_id(one, STORE_PREFIX) for one in made)
    for wrong in (
        "",
        "sto_",
        "sto_A" + "a" * 15,
        "sto_" + "a" * 17,
        "op_" + "a" * 16,
        "sto_" + "a" * 16 + "\n",
        "sto_" + "٣" * 16,
    ):
        assert not is_id(wrong, STORE_PREFIX), wrong
    assert make_resource_name("sto_abc") == "st-abc"


def test_change_of_state_resets_what_was_observed() -> None:
    ready = store(state="ready", storefront="protected", storefront_checked_at=THEN, cron="calling")
    assert ready.to_json()["observed"] == {
        "storefront": "protected",
        "checked_at": "2026-01-02T03:04:05.678Z",
        "cron": "calling",
    }
    unknown = {"storefront": "unknown", "checked_at": None, "cron": "none"}
    assert ready.copy_with(state="upgrading").to_json()["observed"] == unknown
    assert ready.copy_with(url="http://x/").to_json()["observed"]["storefront"] == "protected"
    assert ready.copy_with(state="ready").to_json()["observed"]["storefront"] == "protected"
