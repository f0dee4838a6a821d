"""What became of a store's versions: who changed them, what can be rolled back, and an upgrade's way back."""

from datetime import datetime
from typing import Any, NamedTuple

from storefleet.core.errors import LeaseLost
from storefleet.core.models import Failure, Operation, Store, format_timestamp
from storefleet.database.operations import COLUMNS, make_operation
from storefleet.database.pool import Connection, Record


class Requester(NamedTuple):
    """Who asked: the name of a token, or a person's e-mail address."""

    id: str
    name: str


class VersionHistoryEntry(NamedTuple):
    """One line of a store's history."""

    operation_id: str
    kind: str
    state: str
    from_version: str | None
    to_version: str
    restores_dump: bool
    plan: str
    requested_by: Requester
    created_at: datetime
    finished_at: datetime | None
    error: Failure | None

    def to_json(self) -> dict[str, Any]:
        return {
            "operation_id": self.operation_id,
            "kind": self.kind,
            "state": self.state,
            "from": self.from_version,
            "to": self.to_version,
            "restore": self.restores_dump,
            "plan": self.plan,
            "by": self.requested_by._asdict(),
            "created_at": format_timestamp(self.created_at),
            "finished_at": format_timestamp(self.finished_at),
            "error": self.error.model_dump() if self.error else None,
        }


async def find_reversible_upgrade(conn: Connection, store: Store) -> Operation | None:
    """The upgrade that gave the store its version, unless it was rolled back since."""
    record = await conn.fetchrow(
        f"SELECT {COLUMNS} FROM operations o WHERE store_id = $1 AND kind = 'upgrade' AND state = 'succeeded'"
        " AND input->>'to' = $2 AND NOT EXISTS (SELECT 1 FROM operations back WHERE back.store_id = o.store_id"
        " AND back.kind = 'rollback' AND back.state = 'succeeded' AND back.input->>'dump' = o.id)"
        " ORDER BY number DESC LIMIT 1",
        store.id,
        store.engine_version,
    )
    return make_operation(record) if record else None


async def start_automatic_rollback(
    conn: Connection, operation: Operation, failure: Failure, *, release_lease: bool
) -> Operation:
    """An upgrade that goes back because of the failure, with as much time as it had at first; raises LeaseLost.

    `deposed`: whoever worked on it is out; it is announced in the same transaction, to be claimed by anybody.
    """
    record = await conn.fetchrow(
        "UPDATE operations SET error = $3, cancel_requested = false, attempt = 1, run_after = now(),"
        " deadline = now() + (deadline - created_at), fence = fence + CASE WHEN $4 THEN 1 ELSE 0 END,"
        " state = CASE WHEN $4 THEN 'queued' ELSE state END, announced_at = CASE WHEN $4 THEN now() END,"
        " lease_owner = CASE WHEN $4 THEN NULL ELSE lease_owner END,"
        " lease_until = CASE WHEN $4 THEN NULL ELSE lease_until END"
        f" WHERE id = $1 AND fence = $2 AND state IN ('queued', 'running') RETURNING {COLUMNS}",
        operation.id,
        operation.fence,
        failure.model_dump(),
        release_lease,
    )
    if record is None:
        raise LeaseLost(operation.id)
    return make_operation(record, operation.steps)


async def list_version_history(
    conn: Connection, *, store: Store, limit: int, starting_after: str | None
) -> tuple[list[VersionHistoryEntry], bool]:
    """What gave the store its versions, newest first, and whether there is more.

    A creation's version is the one that the first upgrade has left, and names of other tenants' people stay unsaid.
    """
    records = await conn.fetch(
        """
        SELECT o.id, o.kind, o.state, o.input, o.requested_by, o.created_at, o.finished_at, o.error,
            coalesce(t.name, u.email, 'operator') AS name,
            coalesce((SELECT first.input->>'from' FROM operations first WHERE first.store_id = o.store_id
                AND first.kind = 'upgrade' AND first.state = 'succeeded' ORDER BY first.number LIMIT 1), $3) AS made
        FROM operations o
        LEFT JOIN tokens t ON t.id = o.requested_by AND t.tenant_id = o.tenant_id
        LEFT JOIN users u ON u.id = o.requested_by AND u.tenant_id = o.tenant_id
        WHERE o.store_id = $1 AND o.tenant_id = $2 AND o.kind IN ('create', 'upgrade', 'rollback')
          AND ($4::text IS NULL OR o.number < (SELECT number FROM operations WHERE id = $4 AND store_id = $1))
        ORDER BY o.number DESC LIMIT $5""",
        store.id,
        store.tenant_id,
        store.engine_version,
        starting_after,
        limit + 1,
    )
    return [_make_history_entry(record, store) for record in records[:limit]], len(records) > limit


def _make_history_entry(record: Record, store: Store) -> VersionHistoryEntry:
    operation_input = record["input"]
    return VersionHistoryEntry(
        operation_id=record["id"],
        kind=record["kind"],
        state=record["state"],
        from_version=operation_input.get("from"),
        to_version=operation_input.get("to") or record["made"],
        restores_dump=bool(operation_input.get("restore")),
        plan=store.plan,
        requested_by=Requester(record["requested_by"], record["name"]),
        created_at=record["created_at"],
        finished_at=record["finished_at"],
        error=Failure.model_validate(record["error"]) if record["error"] else None,
    )
