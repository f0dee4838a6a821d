"""Turn outbox rows into NATS messages, and drop rows that can never be published.

No I/O happens here. The relay decides when rows are taken and published.
"""

import base64
import json
from collections.abc import Sequence

from storefleet.core.messages import encode_cloud_event
from storefleet.core.models import utc_now
from storefleet.database.outbox_rows import OutboxRow
from storefleet.database.repositories.outbox import PendingMessage
from storefleet.messaging import OutgoingMessage
from storefleet.observability import logs, metrics

log = logs.get_logger(__name__)


def make_message(row: PendingMessage) -> OutgoingMessage:
    """Make the NATS message of a row: a CloudEvent, or the raw bytes of a replayed dead letter."""
    if row.kind == "raw":
        payload = base64.b64decode(json.loads(row.data)["base64"])
        return OutgoingMessage(row.subject, payload, row.id)
    extensions = {
        "seq": row.seq,
        "tenantid": row.tenant_id,
        "storeid": row.store_id,
        "operationid": row.operation_id,
    }
    body = encode_cloud_event(
        message_id=row.id,
        message_type=row.type,
        subject=row.store_id or row.id,
        time=row.time,
        data=row.data,
        extensions={key: value for key, value in extensions.items() if value is not None},
    )
    return OutgoingMessage(row.subject, body, row.id)


def make_early_message(command: OutboxRow) -> OutgoingMessage:
    """Make the NATS message of a committed command whose row the relay has not taken yet."""
    return make_message(
        PendingMessage(
            number=None,
            id=command.id,
            kind=command.kind,
            subject=command.subject,
            type=command.type,
            tenant_id=command.tenant_id,
            store_id=command.store_id,
            operation_id=command.operation_id,
            time=utc_now(),
            data=json.dumps(command.data),
            seq=None,
        )
    )


def make_publishable_messages(rows: Sequence[PendingMessage]) -> dict[str, OutgoingMessage]:
    """Make the messages of the rows by id, in order, without rows that cannot be encoded.

    Such a row is logged and counted; it must not block the rows behind it.
    """
    messages = {}
    for row in rows:
        try:
            messages[row.id] = make_message(row)
        except Exception as error:  # noqa: BLE001  an encoding error of any kind concerns this row only
            record_dropped_row(row, error)
    return messages


def record_dropped_row(row: PendingMessage, error: Exception) -> None:
    """Log and count a row that can never be published."""
    metrics.OUTBOX_ROWS_DROPPED.labels(row.kind).inc()
    log.error(
        "relay_row_dropped",
        message_id=row.id,
        type=row.type,
        store_id=row.store_id,
        operation_id=row.operation_id,
        error=repr(error),
    )


def find_last_contiguous_seq(
    rows: Sequence[PendingMessage], settled: Sequence[PendingMessage]
) -> int:
    """Return the `seq` up to which all events of `rows` are settled; 0 if the first one is not."""
    settled_seqs = {row.seq for row in settled}
    last_seq = 0
    for row in rows:
        if row.seq is None:
            continue
        if row.seq not in settled_seqs:
            break
        last_seq = row.seq
    return last_seq
