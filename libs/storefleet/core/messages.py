"""Messages on NATS: stream and subject names, and CloudEvents 1.0 in JSON (structured mode)."""

import json
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from storefleet.core.errors import StorefleetError
from storefleet.core.identifiers import OPERATION_PREFIX, STORE_PREFIX, is_id
from storefleet.core.lifecycle import OperationKind
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
    """The bytes are not a message of this platform; the text says why."""


class Command(FrozenModel):
    """A message that dispatches an operation. Only a hint: the operation's row is authoritative."""

    id: str
    type: str
    operation_id: str
    store_id: str
    kind: str
    request_id: str | None = None


def make_command_subject(kind: OperationKind, store_id: str) -> str:
    """Make the subject of a command; it names the service that works on the kind."""
    return f"{COMMAND_SUBJECT_PREFIX}.{SERVICE_BY_KIND[kind]}.{kind}.{store_id}"


def make_event_subject(tenant_id: str, store_id: str, event_type: str) -> str:
    """Make the subject of an event, such as `storefleet.events.v1.ten_….sto_….ready`."""
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
    """Encode a CloudEvent in structured JSON mode.

    Args:
        message_id: Unique; JetStream drops a second message with the same id.
        message_type: The CloudEvents type, such as `store.ready`.
        subject: The id of the store, or of the message when it is not about a store.
        time: When it happened.
        data: The data as JSON text, inserted without parsing it.
        extensions: Extension attributes such as `seq`, `tenantid`, `storeid` and `operationid`.
    """
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
    """Decode a CloudEvent into its attributes and data.

    Raises:
        UnreadableMessage: The bytes are not JSON, or not a CloudEvent 1.0.
    """
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableMessage(f"not JSON: {error}") from None
    if not isinstance(envelope, dict) or envelope.get("specversion") != "1.0":
        raise UnreadableMessage("not a CloudEvent 1.0")
    return envelope


def split_event(body: bytes) -> tuple[dict[str, Any], str]:
    """Split an event into its decoded attributes and its data, which stays JSON text.

    A service that only forwards the data need not parse it. This works only for the output of
    `encode_cloud_event`, whose last member is `data`.

    Raises:
        UnreadableMessage: The bytes do not have this form.
    """
    head, separator, data = body.partition(b',"data":')
    if not separator or not data.endswith(b"}"):
        raise UnreadableMessage("no data")
    try:
        return decode_cloud_event(head + b"}"), data[:-1].decode()
    except UnicodeDecodeError as error:
        raise UnreadableMessage(f"not UTF-8: {error}") from None


def decode_command(body: bytes) -> Command:
    """Decode a command.

    Raises:
        UnreadableMessage: The bytes are not a CloudEvent with a command's data.
    """
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
