"""What travels over NATS: subjects and CloudEvents 1.0 in JSON."""

import json
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from storefleet.core.errors import StorefleetError
from storefleet.core.identifiers import OPERATION_PREFIX, STORE_PREFIX, is_id
from storefleet.core.models import SERVICE_BY_KIND, FrozenModel, format_timestamp

COMMAND_STREAM = "STORE_COMMANDS"
EVENT_STREAM = "STORE_EVENTS"
DEAD_LETTER_STREAM = "DEAD_LETTERS"

COMMAND_SUBJECT_PREFIX = "storefleet.commands.v1"
EVENT_SUBJECT_PREFIX = "storefleet.events.v1"
LIVE_EVENT_SUBJECT_PREFIX = "storefleet.live.v1"
DEAD_LETTER_SUBJECT_PREFIX = "storefleet.dead.v1"
RELAY_WAKE_SUBJECT = "storefleet.wake.v1.outbox"
CLOUD_EVENT_SOURCE = "/storefleet"


class UnreadableMessage(StorefleetError):
    """Bytes that are not a message of ours."""


class Command(FrozenModel):
    """Work on this operation: a hint, the row is the work."""

    id: str
    type: str
    operation_id: str
    store_id: str
    kind: str
    request_id: str | None = None


def make_command_subject(kind: str, store_id: str) -> str:
    return f"{COMMAND_SUBJECT_PREFIX}.{SERVICE_BY_KIND[kind]}.{kind}.{store_id}"


def make_event_subject(tenant_id: str, store_id: str, event_type: str) -> str:
    return f"{EVENT_SUBJECT_PREFIX}.{tenant_id}.{store_id}.{event_type.removeprefix('store.')}"


def encode_cloud_event(
    *,
    message_id: str,
    message_type: str,
    subject: str,
    time: datetime,
    data: str,
    extensions: dict[str, Any],
) -> bytes:
    """One CloudEvent in structured JSON mode; `data` is JSON, `extensions` holds seq, tenant and operation ids."""
    envelope = {
        "specversion": "1.0",
        "id": message_id,
        "type": message_type,
        "source": CLOUD_EVENT_SOURCE,
        "subject": subject,
        "time": format_timestamp(time),
        "datacontenttype": "application/json",
        **extensions,
    }
    head = json.dumps(envelope, separators=(",", ":"))
    return f'{head[:-1]},"data":{data}}}'.encode()


def decode_cloud_event(body: bytes) -> dict[str, Any]:
    """The envelope; raises UnreadableMessage."""
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableMessage(f"not JSON: {error}") from None
    if not isinstance(envelope, dict) or envelope.get("specversion") != "1.0":
        raise UnreadableMessage("not a CloudEvent 1.0")
    return envelope


def split_event(body: bytes) -> tuple[dict[str, Any], str]:
    """The attributes of an event as `encode` wrote it, and its data, JSON as it came; raises UnreadableMessage."""
    head, separator, data = body.partition(b',"data":')
    if not separator or not data.endswith(b"}"):
        raise UnreadableMessage("no data")
    try:
        return decode_cloud_event(head + b"}"), data[:-1].decode()
    except UnicodeDecodeError as error:
        raise UnreadableMessage(f"not UTF-8: {error}") from None


def decode_command(body: bytes) -> Command:
    """The command in an envelope; raises UnreadableMessage."""
    envelope = decode_cloud_event(body)
    data = envelope.get("data")
    if not isinstance(data, dict):
        raise UnreadableMessage("no data")
    try:
        command = Command(id=str(envelope.get("id")), type=str(envelope.get("type")), **data)
    except (ValidationError, TypeError) as error:
        raise UnreadableMessage(f"not a command: {error}") from None
    if not (
        is_id(command.operation_id, OPERATION_PREFIX) and is_id(command.store_id, STORE_PREFIX)
    ):
        raise UnreadableMessage("not a command: no ids of an operation and a store")
    return command
