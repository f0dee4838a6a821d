"""Turns of stores that are asked for a page by time: a row for each, claimed by one reaper a turn."""

from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

from storefleet.database.pool import Connection

_BATCH_ROWS = 2000  # rows that one statement begins or ends


class CronCall(NamedTuple):
    """A store whose time has come."""

    store_id: str
    engine: str
    url: str
    delay_s: float  # seconds


async def synchronize_stores(conn: Connection, intervals_s: Mapping[str, float]) -> tuple[int, int]:
    """Begin with stores that have become ready, end with those that no longer are; how many.

    `every` is the pause in seconds, by engine. The first turn comes at any time within it, so that stores that were
    made together are not asked together.
    """
    begun = await conn.fetch(
        """
        INSERT INTO ticks (store_id, due_at)
        SELECT id, now() + make_interval(secs => every * random())
        FROM stores JOIN unnest($1::text[], $2::float8[]) AS pace (engine, every) USING (engine)
        WHERE state = 'ready' AND url IS NOT NULL AND NOT EXISTS (SELECT FROM ticks WHERE store_id = id)
        LIMIT $3
        ON CONFLICT DO NOTHING RETURNING 1""",
        list(intervals_s),
        list(intervals_s.values()),
        _BATCH_ROWS,
    )
    ended = await conn.fetch(
        """
        DELETE FROM ticks WHERE store_id IN (
            SELECT store_id FROM ticks JOIN stores ON id = store_id
            WHERE state <> 'ready' OR NOT engine = ANY ($1) LIMIT $2 FOR UPDATE OF ticks SKIP LOCKED)
        RETURNING 1""",
        list(intervals_s),
        _BATCH_ROWS,
    )
    return len(begun), len(ended)


async def claim_due_calls(
    conn: Connection, intervals_s: Mapping[str, float], *, limit: int
) -> list[CronCall]:
    """Stores that are due, oldest first; the next turn of each is set, so that nobody else gets this one.

    A reaper that dies after this has cost its stores one turn, no more.
    """
    records = await conn.fetch(
        """
        WITH due AS (
            SELECT store_id, due_at AS was, engine, url, every
            FROM ticks
            JOIN stores ON id = store_id
            JOIN unnest($1::text[], $2::float8[]) AS pace (engine, every) USING (engine)
            WHERE due_at <= now() AND state = 'ready' AND url IS NOT NULL
            ORDER BY due_at LIMIT $3 FOR UPDATE OF ticks SKIP LOCKED)
        UPDATE ticks SET due_at = now() + make_interval(secs => every * (0.9 + 0.2 * random()))
        FROM due WHERE ticks.store_id = due.store_id
        RETURNING due.store_id, engine, url, extract(epoch FROM now() - was)::float8 AS late""",
        list(intervals_s),
        list(intervals_s.values()),
        limit,
    )
    return [CronCall(*record) for record in records]


async def record_failure(
    conn: Connection, store_id: str, *, interval_s: float, max_interval: timedelta
) -> None:
    """The pause doubles with each failure in a row, so that stores that hang do not take all the room."""
    await conn.execute(
        """
        UPDATE ticks SET failures = failures + 1,
            due_at = greatest(due_at, now() + least($3::interval,
                make_interval(secs => $2 * power(2, least(failures, 20)) * (0.9 + 0.2 * random()))))
        WHERE store_id = $1""",
        store_id,
        interval_s,
        max_interval,
    )


async def record_success(conn: Connection, store_id: str) -> None:
    """Nothing is written for a store that has answered before."""
    await conn.execute(
        "UPDATE ticks SET failures = 0 WHERE store_id = $1 AND failures > 0", store_id
    )
