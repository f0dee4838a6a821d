"""The version history of a store: the operations that set its version, and the one to reverse."""

from datetime import datetime
from typing import Any, NamedTuple

from storefleet.core.lifecycle import OperationKind, OperationState
from storefleet.core.models import Failure, Operation, Store, format_timestamp
from storefleet.database.connection import Connection, Record
from storefleet.database.repositories.operations import make_operation
from storefleet.database.statements import load_statement

_FIND_REVERSIBLE_UPGRADE = load_statement("find_reversible_upgrade")
_LIST_PAGE = load_statement("list_version_history")


class Requester(NamedTuple):
    """Who requested an operation: `name` is a token's name or a user's e-mail address."""

    id: str
    name: str


class VersionHistoryEntry(NamedTuple):
    """An operation that set, or attempted to set, the version of a store."""

    operation_id: str
    kind: OperationKind
    state: OperationState
    from_version: str | None
    to_version: str
    restores_dump: bool
    plan: str
    requested_by: Requester
    created_at: datetime
    finished_at: datetime | None
    error: Failure | None

    def to_json(self) -> dict[str, Any]:
        """Return the entry's shape in the HTTP API."""
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


class VersionHistory:
    """Reads a store's version changes from its operations."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def find_reversible_upgrade(self, store: Store) -> Operation | None:
        """Find the upgrade that gave the store its version, unless it was rolled back since."""
        record = await self._connection.fetchrow(
            *_FIND_REVERSIBLE_UPGRADE.bind(store_id=store.id, engine_version=store.engine_version)
        )
        return make_operation(record) if record else None

    async def list_page(
        self, *, store: Store, limit: int, starting_after: str | None
    ) -> tuple[list[VersionHistoryEntry], bool]:
        """List a page of the operations that gave a store its versions, newest first.

        Args:
            store: The store.
            limit: Entries per page.
            starting_after: The operation id of the last entry of the page before.

        Returns:
            The page, and whether there are more entries after it.
        """
        records = await self._connection.fetch(
            *_LIST_PAGE.bind(
                store_id=store.id,
                tenant_id=store.tenant_id,
                engine_version=store.engine_version,
                starting_after=starting_after,
                limit=limit + 1,
            )
        )
        return [_make_entry(record, store) for record in records[:limit]], len(records) > limit


def _make_entry(record: Record, store: Store) -> VersionHistoryEntry:
    operation_input = record["input"]
    return VersionHistoryEntry(
        operation_id=record["id"],
        kind=OperationKind(record["kind"]),
        state=OperationState(record["state"]),
        from_version=operation_input.get("from"),
        to_version=operation_input.get("to") or record["created_version"],
        restores_dump=bool(operation_input.get("restore")),
        plan=store.plan,
        requested_by=Requester(record["requested_by"], record["requester_name"]),
        created_at=record["created_at"],
        finished_at=record["finished_at"],
        error=Failure.model_validate(record["error"]) if record["error"] else None,
    )
