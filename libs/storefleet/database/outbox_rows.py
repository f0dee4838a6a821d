"""Build the messages that a transaction writes into the outbox: events, commands, dead letters.

Pure functions; `OutboxRepository` and `TransitionRepository` write what they return.
"""

import base64
from typing import Any, Literal, NamedTuple

from storefleet.core.identifiers import COMMAND_PREFIX, EVENT_PREFIX, generate_id
from storefleet.core.lifecycle import StoreEvent
from storefleet.core.messages import (
    DEAD_LETTER_SUBJECT_PREFIX,
    make_command_subject,
    make_event_subject,
)
from storefleet.core.models import Operation, Store

MessageKind = Literal["event", "command", "dead_letter", "raw"]


class OutboxRow(NamedTuple):
    """A message to be published. `data` is encoded as JSON by the database's codec."""

    id: str
    kind: MessageKind
    subject: str
    type: str
    tenant_id: str | None
    store_id: str | None
    operation_id: str | None
    data: dict[str, Any]


def make_event(event_type: StoreEvent, store: Store, operation: Operation | None) -> OutboxRow:
    """Make an event about a store that carries the current state of the store and the operation.

    Args:
        event_type: The type of the event.
        store: The store as the transaction leaves it.
        operation: The operation that caused the event, if there is one.
    """
    return OutboxRow(
        id=generate_id(EVENT_PREFIX),
        kind="event",
        subject=make_event_subject(store.tenant_id, store.id, event_type),
        type=event_type,
        tenant_id=store.tenant_id,
        store_id=store.id,
        operation_id=operation.id if operation else None,
        data=make_event_data(store, operation),
    )


def make_event_data(store: Store, operation: Operation | None) -> dict[str, Any]:
    """Make the data of an event, enough to display the store without another request.

    Args:
        store: The store after the event.
        operation: The operation that caused the event, if any.

    Returns:
        `store`, without its parameters, and `operation`, as in the HTTP API.
    """
    shape = store.to_json()
    shape.pop("parameters")
    data: dict[str, Any] = {"store": shape}
    if operation is not None:
        data["operation"] = operation.to_json()
    return data


def make_command(operation: Operation) -> OutboxRow:
    """Make the command that dispatches an operation to the service of its kind."""
    return OutboxRow(
        id=generate_id(COMMAND_PREFIX),
        kind="command",
        subject=make_command_subject(operation.kind, operation.store_id),
        type=f"storefleet.{operation.kind}",
        tenant_id=operation.tenant_id,
        store_id=operation.store_id,
        operation_id=operation.id,
        data={
            "operation_id": operation.id,
            "store_id": operation.store_id,
            "kind": operation.kind,
            "request_id": operation.request_id,
        },
    )


def make_dead_letter(letter_id: str, reason: str, data: dict[str, Any]) -> OutboxRow:
    """Make the message that reports a dead letter on NATS."""
    return OutboxRow(
        id=letter_id,
        kind="dead_letter",
        subject=f"{DEAD_LETTER_SUBJECT_PREFIX}.{reason}",
        type="storefleet.dead_letter",
        tenant_id=None,
        store_id=None,
        operation_id=None,
        data=data,
    )


def make_raw_message(message_id: str, subject: str, payload: bytes) -> OutboxRow:
    """Make a message that is published byte for byte: a replayed dead letter."""
    return OutboxRow(
        id=message_id,
        kind="raw",
        subject=subject,
        type="storefleet.raw",
        tenant_id=None,
        store_id=None,
        operation_id=None,
        data={"base64": base64.b64encode(payload).decode()},
    )


def make_column_arguments(rows: tuple[OutboxRow, ...]) -> dict[str, list[Any]]:
    """Arrange rows as the array parameters `message_*` of the SQL statements; at least one row."""
    ids, kinds, subjects, types, tenant_ids, store_ids, operation_ids, data = map(
        list, zip(*rows, strict=True)
    )
    return {
        "message_ids": ids,
        "message_kinds": kinds,
        "message_subjects": subjects,
        "message_types": types,
        "message_tenant_ids": tenant_ids,
        "message_store_ids": store_ids,
        "message_operation_ids": operation_ids,
        "message_data": data,
    }
