"""What travels over NATS: subjects and CloudEvents 1.0 in JSON."""

import json
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from storefleet.core.errors import StorefleetError
from storefleet.core.identifiers import OPERATION, STORE, is_id
from storefleet.core.models import SERVICE_OF_KIND, Model, timestamp

COMMANDS = "STORE_COMMANDS"
EVENTS = "STORE_EVENTS"
DEAD = "DEAD_LETTERS"

COMMANDS_SUBJECT = "storefleet.commands.v1"
EVENTS_SUBJECT = "storefleet.events.v1"
LIVE_SUBJECT = "storefleet.live.v1"
DEAD_SUBJECT = "storefleet.dead.v1"
WAKE_SUBJECT = "storefleet.wake.v1.outbox"
SOURCE = "/storefleet"


class UnreadableMessage(StorefleetError):
    """Bytes that are not a message of ours."""


class Command(Model):
    """Work on this operation: a hint, the row is the work."""

    id: str
    type: str
    operation_id: str
    store_id: str
    kind: str
    request_id: str | None = None


def command_subject(kind: str, store_id: str) -> str:
    return f"{COMMANDS_SUBJECT}.{SERVICE_OF_KIND[kind]}.{kind}.{store_id}"


def event_subject(tenant_id: str, store_id: str, event_type: str) -> str:
    return f"{EVENTS_SUBJECT}.{tenant_id}.{store_id}.{event_type.removeprefix('store.')}"


def encode(
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
        "source": SOURCE,
        "subject": subject,
        "time": timestamp(time),
        "datacontenttype": "application/json",
        **extensions,
    }
    head = json.dumps(envelope, separators=(",", ":"))
    return f'{head[:-1]},"data":{data}}}'.encode()


def decode(body: bytes) -> dict[str, Any]:
    """The envelope; raises UnreadableMessage."""
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableMessage(f"not JSON: {error}") from None
    if not isinstance(envelope, dict) or envelope.get("specversion") != "1.0":
        raise UnreadableMessage("not a CloudEvent 1.0")
    return envelope


def open_event(body: bytes) -> tuple[dict[str, Any], str]:
    """The attributes of an event as `encode` wrote it, and its data, JSON as it came; raises UnreadableMessage."""
    head, separator, data = body.partition(b',"data":')
    if not separator or not data.endswith(b"}"):
        raise UnreadableMessage("no data")
    try:
        return decode(head + b"}"), data[:-1].decode()
    except UnicodeDecodeError as error:
        raise UnreadableMessage(f"not UTF-8: {error}") from None


def read_command(body: bytes) -> Command:
    """The command in an envelope; raises UnreadableMessage."""
    envelope = decode(body)
    data = envelope.get("data")
    if not isinstance(data, dict):
        raise UnreadableMessage("no data")
    try:
        command = Command(id=str(envelope.get("id")), type=str(envelope.get("type")), **data)
    except (ValidationError, TypeError) as error:
        raise UnreadableMessage(f"not a command: {error}") from None
    if not (is_id(command.operation_id, OPERATION) and is_id(command.store_id, STORE)):
        raise UnreadableMessage("not a command: no ids of an operation and a store")
    return command
