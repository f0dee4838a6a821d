"""The local runtime's placements.

The runtime writes the desired state of a store's process, the local node the observed one.
"""

from collections.abc import Sequence

from storefleet.core.models import FrozenModel
from storefleet.database.connection import Connection, Record
from storefleet.database.statements import load_statement

DESIRED_CHANNEL = "storefleet_node"
OBSERVED_CHANNEL = "storefleet_placements"

_COLUMNS = (
    "store_id, operation_id, engine, engine_version, port, desired, observed, pid, restarts,"
    " message"
)
_ADD = load_statement("add_placement")


class Placement(FrozenModel):
    """A store's process on this machine: its port, its desired and its observed state."""

    store_id: str
    operation_id: str
    engine: str
    engine_version: str
    port: int
    desired: str
    observed: str
    pid: int | None
    restarts: int
    message: str


class PlacementRepository:
    """Reads and writes placements, and notifies the other side of a change."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def list_all(self) -> list[Placement]:
        """List every placement, oldest first."""
        records = await self._connection.fetch(
            f"SELECT {_COLUMNS} FROM placements ORDER BY created_at"
        )
        return [_make_placement(record) for record in records]

    async def find(self, store_id: str) -> Placement | None:
        """Find the placement of a store."""
        record = await self._connection.fetchrow(
            f"SELECT {_COLUMNS} FROM placements WHERE store_id = $1", store_id
        )
        return _make_placement(record) if record else None

    async def add(
        self,
        *,
        store_id: str,
        operation_id: str,
        engine: str,
        engine_version: str,
        ports: Sequence[int],
    ) -> Placement | None:
        """Keep a store's placement, or add one with the first port that is free.

        Returns:
            The placement, or None when other stores have every one of `ports`.
        """
        await self._connection.execute(
            "SELECT pg_advisory_xact_lock(hashtext('storefleet placements'))"
        )
        record = await self._connection.fetchrow(
            *_ADD.bind(
                store_id=store_id,
                operation_id=operation_id,
                engine=engine,
                engine_version=engine_version,
                ports=list(ports),
            )
        )
        return _make_placement(record) if record else None

    async def set_desired_state(self, store_id: str, desired: str) -> bool:
        """Set the desired state, `running` or `stopped`, and notify the node.

        Returns:
            Whether the store has a placement.
        """
        status = await self._connection.execute(
            "UPDATE placements SET desired = $2 WHERE store_id = $1", store_id, desired
        )
        await self._notify(DESIRED_CHANNEL, store_id)
        return status != "UPDATE 0"

    async def record_observed_state(
        self, store_id: str, *, observed: str, pid: int | None, restarts: int, message: str
    ) -> None:
        """Record the observed state of a store's process, and notify the runtime."""
        await self._connection.execute(
            """
            UPDATE placements SET observed = $2, pid = $3, restarts = $4, message = $5,
                observed_at = now()
            WHERE store_id = $1""",
            store_id,
            observed,
            pid,
            restarts,
            message,
        )
        await self._notify(OBSERVED_CHANNEL, store_id)

    async def delete(self, store_id: str) -> None:
        """Delete a placement, which frees its port, and notify the node."""
        await self._connection.execute("DELETE FROM placements WHERE store_id = $1", store_id)
        await self._notify(DESIRED_CHANNEL, store_id)

    async def _notify(self, channel: str, store_id: str) -> None:
        await self._connection.execute(f"SELECT pg_notify('{channel}', $1)", store_id)


def _make_placement(record: Record) -> Placement:
    return Placement.model_validate(dict(record))
