"""Message envelopes round-trip; everything else is unreadable."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storefleet.core.messages import (
    UnreadableMessage,
    decode_cloud_event,
    decode_command,
    encode_cloud_event,
    make_command_subject,
    make_event_subject,
)

TIME = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
DATA: dict[str, Any] = {
    "operation_id": "op_aaaaaaaaaaaaaaaa",
    "store_id": "sto_aaaaaaaaaaaaaaaa",
    "kind": "create",
    "request_id": "req_1",
}


def envelope(**changes: Any) -> bytes:
    body = encode_cloud_event(
        message_id="cmd_1",
        message_type="storefleet.create",
        subject="sto_aaaaaaaaaaaaaaaa",
        time=TIME,
        data=json.dumps({**DATA, **changes}),
        extensions={"seq": 7, "tenantid": "ten_1"},
    )
    assert isinstance(body, bytes)
    return body


def test_envelope_is_cloudevent() -> None:
    assert json.loads(envelope()) == {
        "specversion": "1.0",
        "id": "cmd_1",
        "type": "storefleet.create",
        "source": "/storefleet",
        "subject": "sto_aaaaaaaaaaaaaaaa",
        "time": "2026-01-02T03:04:05.678Z",
        "datacontenttype": "application/json",
        "seq": 7,
        "tenantid": "ten_1",
        "data": DATA,
    }


def test_command_round_trips() -> None:
    command = decode_command(envelope())
    assert (command.id, command.type) == ("cmd_1", "storefleet.create")
    assert command.model_dump(include=set(DATA)) == DATA
    assert decode_command(envelope(request_id=None)).request_id is None
    assert decode_command(envelope(unknown="is left out")).kind == "create"


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"x",
            b"\xff",
            b"[]",
            b"1",
            b"null",
            b'{"specversion": "2.0"}',
            b'{"specversion": 1.0}',
            b"[" * 100_000,
        ),
        *(
            b'{"specversion": "1.0"}',
            b'{"specversion": "1.0", "data": []}',
            b'{"specversion": "1.0", "data": {}}',
        ),
        *(
            envelope(operation_id=None),
            envelope(operation_id=1),
            envelope(kind=[]),
            envelope(store_id="sto_x"),
        ),
        *(
            envelope(operation_id="sto_aaaaaaaaaaaaaaaa"),
            envelope(store_id="sto_aaaaaaaaaaaaaa\0a"),
            envelope(id="x"),
        ),
    ],
)
def test_non_command_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableMessage) as error:
        decode_command(body)
    assert "\0" not in str(error.value)
    str(error.value).encode()


@settings(max_examples=200, deadline=None, database=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps),
    )
)
def test_garbage_is_unreadable(garbage: bytes | str) -> None:
    body = garbage if isinstance(garbage, bytes) else garbage.encode()
    with pytest.raises(UnreadableMessage):
        decode_command(body)


def test_subjects_are_built_from_parts() -> None:
    assert (
        make_command_subject("create", "sto_1") == "storefleet.commands.v1.provisioner.create.sto_1"
    )
    assert make_command_subject("delete", "sto_1") == "storefleet.commands.v1.reaper.delete.sto_1"
    assert (
        make_event_subject("ten_1", "sto_1", "store.ready")
        == "storefleet.events.v1.ten_1.sto_1.ready"
    )


def test_decoding_returns_envelope() -> None:
    assert decode_cloud_event(envelope())["seq"] == 7
