"""What is observed of ready stores: when the next storefront check is due, and what checks found.

A check that confirms the class of a store writes its time only. A change increments the store's
version and writes an event in the same transaction. A late result writes nothing: the claim's end
is its fence, and a change of the store's state resets it (a trigger does, see migration 0005).
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from storefleet.core.lifecycle import StoreEvent, StoreState
from storefleet.core.models import utc_now
from storefleet.core.observed import CronState, StorefrontClass
from storefleet.database.connection import Connection
from storefleet.database.outbox_rows import make_event
from storefleet.database.repositories.outbox import OutboxRepository
from storefleet.database.repositories.stores import StoreRepository
from storefleet.database.statements import load_statement

_CLAIM = load_statement("claim_storefront_checks")
_CONFIRM = load_statement("confirm_storefront_class")
_END = load_statement("end_storefront_check")


class ClaimedCheck(NamedTuple):
    """A claimed storefront check.

    Attributes:
        store_id: The store, which is ready.
        engine: The name of its engine.
        url: Its storefront's URL.
        storefront: The class that it has now.
        claimed_until: When another reaper may claim the check; the fence of its result.
        port: The port of a local store; None on other runtimes.
        delay_s: How late the claim is, in seconds.
    """

    store_id: str
    engine: str
    url: str
    storefront: str
    claimed_until: datetime
    port: int | None
    delay_s: float


class ObservationRepository:
    """Claims storefront checks, and records what was observed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stores = StoreRepository(connection)
        self._outbox = OutboxRepository(connection)

    async def claim_due(
        self, *, engines: list[str], claim_duration: timedelta, limit: int
    ) -> list[ClaimedCheck]:
        """Claim due storefront checks, oldest first.

        Args:
            engines: Only stores of these engines.
            claim_duration: When the check is due again if nothing is recorded, because the reaper
                was killed.
            limit: The largest number of claims.
        """
        records = await self._connection.fetch(
            *_CLAIM.bind(engines=engines, claim_duration=claim_duration, limit=limit)
        )
        return [ClaimedCheck(*record) for record in records]

    async def confirm_storefront(
        self, check: ClaimedCheck, storefront: StorefrontClass, *, pause_s: float
    ) -> bool:
        """Record a check that has observed the store's class again.

        Args:
            check: The claim.
            storefront: What was observed.
            pause_s: Seconds until the next check, to which jitter is added.

        Returns:
            Whether it was recorded. It was not when the store has another class, its state has
            changed since the claim, or the claim is over.
        """
        written = await self._connection.fetchval(
            *_CONFIRM.bind(
                store_id=check.store_id,
                storefront=storefront,
                claimed_until=check.claimed_until,
                pause_s=pause_s,
            )
        )
        return bool(written)

    async def change_storefront(
        self, check: ClaimedCheck, storefront: StorefrontClass, *, pause_s: float
    ) -> bool:
        """Record a check that has observed another class, with its event; needs a transaction.

        The caller notifies the relay: `database.transaction(notify=OUTBOX_CHANNEL)`.

        Args:
            check: The claim.
            storefront: What was observed.
            pause_s: Seconds until the next check, to which jitter is added.

        Returns:
            Whether it was recorded, like `confirm_storefront`.
        """
        store = await self._stores.lock(check.store_id)
        if store is None or store.state != StoreState.READY or store.storefront == storefront:
            return False
        is_held = await self._connection.fetchval(
            *_END.bind(store_id=store.id, claimed_until=check.claimed_until, pause_s=pause_s)
        )
        if not is_held:
            return False
        store = await self._stores.update(
            store.id, storefront=storefront, storefront_checked_at=utc_now()
        )
        await self._outbox.add(make_event(StoreEvent.OBSERVED, store, None))
        return True

    async def count_storefronts(self) -> dict[StorefrontClass, int]:
        """Count the ready stores of every tenant by class; classes without stores are left out."""
        records = await self._connection.fetch(
            "SELECT storefront, count(*) FROM stores WHERE state = 'ready' GROUP BY storefront"
        )
        return {StorefrontClass(record["storefront"]): record["count"] for record in records}

    async def change_cron(self, store_id: str, cron: CronState, *, version: int) -> bool:
        """Record a change of a store's cron calls, with its event; needs a transaction.

        Args:
            store_id: The store that was called.
            cron: What became of the calls.
            version: The store's version when the call was claimed.

        Returns:
            Whether it was recorded: the store is ready and has not changed since.
        """
        store = await self._stores.lock(store_id)
        if store is None or store.state != StoreState.READY or store.version != version:
            return False
        store = await self._stores.update(store.id, cron=cron)
        await self._outbox.add(make_event(StoreEvent.OBSERVED, store, None))
        return True
