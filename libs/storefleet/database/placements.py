"""The local runtime's desired and observed processes: the runtime writes the first, the node the second."""

from collections.abc import Sequence

from storefleet.core.models import FrozenModel
from storefleet.database.pool import Connection, Record

DESIRED_CHANNEL = "storefleet_node"
OBSERVED_CHANNEL = "storefleet_placements"

_COLUMNS = "store_id, operation_id, engine, engine_version, port, desired, observed, pid, restarts, message"


class Placement(FrozenModel):
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


def _make_placement(record: Record) -> Placement:
    return Placement.model_validate(dict(record))


async def list_placements(conn: Connection) -> list[Placement]:
    return [
        _make_placement(r)
        for r in await conn.fetch(f"SELECT {_COLUMNS} FROM placements ORDER BY created_at")
    ]


async def find_placement(conn: Connection, store_id: str) -> Placement | None:
    record = await conn.fetchrow(f"SELECT {_COLUMNS} FROM placements WHERE store_id = $1", store_id)
    return _make_placement(record) if record else None


async def add_placement(
    conn: Connection,
    *,
    store_id: str,
    operation_id: str,
    engine: str,
    engine_version: str,
    ports: Sequence[int],
) -> Placement | None:
    """Keep the row there is, or take the first of `ports` that no other store has; None when all are taken."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtext('storefleet placements'))")
    record = await conn.fetchrow(
        "INSERT INTO placements (store_id, operation_id, engine, engine_version, port)"
        " SELECT $1, $2, $3, $4, p.port FROM unnest($5::int[]) WITH ORDINALITY AS p(port, place)"
        " WHERE NOT EXISTS (SELECT 1 FROM placements taken WHERE taken.port = p.port) ORDER BY p.place LIMIT 1"
        f" ON CONFLICT (store_id) DO UPDATE SET operation_id = excluded.operation_id RETURNING {_COLUMNS}",
        store_id,
        operation_id,
        engine,
        engine_version,
        list(ports),
    )
    return _make_placement(record) if record else None


async def set_desired_state(conn: Connection, store_id: str, desired: str) -> bool:
    """Say what should be; the node hears of it. Whether there is such a row."""
    result = await conn.execute(
        "UPDATE placements SET desired = $2 WHERE store_id = $1", store_id, desired
    )
    await conn.execute(f"SELECT pg_notify('{DESIRED_CHANNEL}', $1)", store_id)
    return str(result) != "UPDATE 0"


async def record_observed_state(
    conn: Connection, store_id: str, *, observed: str, pid: int | None, restarts: int, message: str
) -> None:
    """The node says what is; whoever waits for it hears."""
    await conn.execute(
        "UPDATE placements SET observed = $2, pid = $3, restarts = $4, message = $5, observed_at = now()"
        " WHERE store_id = $1",
        store_id,
        observed,
        pid,
        restarts,
        message,
    )
    await conn.execute(f"SELECT pg_notify('{OBSERVED_CHANNEL}', $1)", store_id)


async def delete_placement(conn: Connection, store_id: str) -> None:
    await conn.execute("DELETE FROM placements WHERE store_id = $1", store_id)
    await conn.execute(f"SELECT pg_notify('{DESIRED_CHANNEL}', $1)", store_id)
