"""When the next cron call of each store is due; one reaper claims each call.

The rows are in the table `ticks`, apart from `stores`, whose rows every transition writes.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

from storefleet.database.connection import Connection
from storefleet.database.statements import load_statement

_BATCH_ROWS = 2000  # rows that one statement adds or deletes
_SCHEDULE = load_statement("schedule_cron_calls")
_UNSCHEDULE = load_statement("unschedule_cron_calls")
_CLAIM = load_statement("claim_cron_calls")
_RECORD_FAILURE = load_statement("record_cron_failure")


class CronCall(NamedTuple):
    """A claimed cron call.

    Attributes:
        store_id: The store, which is ready.
        engine: The name of its engine.
        url: Its storefront's URL.
        delay_s: How late the claim is, in seconds.
        cron: The state that the store's cron calls have now.
        version: The version of the store.
    """

    store_id: str
    engine: str
    url: str
    delay_s: float
    cron: str
    version: int


class CronCallRepository:
    """Schedules and claims cron calls. Intervals are in seconds, by engine."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def synchronize(self, intervals_s: Mapping[str, float]) -> tuple[int, int]:
        """Schedule calls for stores that have become ready, and remove those of other stores.

        Returns:
            The numbers of added and of removed schedules, at most 2000 each.
        """
        added = await self._connection.fetch(
            *_SCHEDULE.bind(
                engines=list(intervals_s),
                intervals_s=list(intervals_s.values()),
                limit=_BATCH_ROWS,
            )
        )
        removed = await self._connection.fetch(
            *_UNSCHEDULE.bind(engines=list(intervals_s), limit=_BATCH_ROWS)
        )
        return len(added), len(removed)

    async def claim_due(self, intervals_s: Mapping[str, float], *, limit: int) -> list[CronCall]:
        """Claim due calls, oldest first, by scheduling the next call of each store.

        If the reaper crashes after the claim, each claimed store misses one call.
        """
        records = await self._connection.fetch(
            *_CLAIM.bind(
                engines=list(intervals_s), intervals_s=list(intervals_s.values()), limit=limit
            )
        )
        return [CronCall(*record) for record in records]

    async def record_failure(
        self, store_id: str, *, interval_s: float, max_interval: timedelta
    ) -> int:
        """Double the pause with each failure in a row, so that hanging stores do not fill the pool.

        Args:
            store_id: The store that did not answer.
            interval_s: The engine's interval in seconds.
            max_interval: The longest pause.

        Returns:
            How many calls in a row have failed; 0 when the store is no longer scheduled.
        """
        failures: int | None = await self._connection.fetchval(
            *_RECORD_FAILURE.bind(
                store_id=store_id, interval_s=interval_s, max_interval=max_interval
            )
        )
        return failures or 0

    async def record_closed(self, store_id: str, *, pause_s: float) -> None:
        """Schedule the next call of a store whose owner has closed its cron address.

        Args:
            store_id: The store that rejected the call.
            pause_s: Seconds until the next call, to which jitter is added.
        """
        await self._connection.execute(
            """
            UPDATE ticks SET failures = 0,
                due_at = greatest(due_at, now() + make_interval(
                    secs => $2 * (0.9 + 0.2 * random())))
            WHERE store_id = $1""",
            store_id,
            pause_s,
        )

    async def record_success(self, store_id: str) -> None:
        """Clear the count of failures; nothing is written for a store that answered before."""
        await self._connection.execute(
            "UPDATE ticks SET failures = 0 WHERE store_id = $1 AND failures > 0", store_id
        )
