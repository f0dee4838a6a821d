"""Tenants, and how much of their limits they use."""

from typing import NamedTuple

from storefleet.database.connection import Connection, fetch_one

_HOUR_S = 3600.0


class TenantUsage(NamedTuple):
    """How much of its limits a tenant uses.

    `retry_after_s` is the time until the hourly limit allows another store, None if it does now;
    `is_full` is true when no further live store is allowed.
    """

    retry_after_s: float | None
    is_full: bool
    created_in_hour: int
    live_stores: int


class TenantRepository:
    """Adds tenants and counts their stores."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(self, tenant_id: str, name: str) -> None:
        """Add a tenant without users."""
        await self._connection.execute(
            "INSERT INTO tenants (id, name) VALUES ($1, $2)", tenant_id, name
        )

    async def read_usage(
        self, tenant_id: str, *, per_hour: int, per_tenant: int, lock: bool
    ) -> TenantUsage:
        """Count a tenant's stores against both limits, exactly even under parallel requests.

        Args:
            tenant_id: The tenant.
            per_hour: The limit of new stores in a rolling hour.
            per_tenant: The limit of live stores.
            lock: Lock the tenant's row before counting, so that no other store of the tenant is
                admitted until the transaction ends.
        """
        record = await fetch_one(
            self._connection,
            "SELECT in_hour, live, wait FROM tenant_room($1, $2, $3, $4)",
            tenant_id,
            per_hour,
            per_tenant,
            lock,
        )
        retry_after_s = None
        if record["in_hour"] >= per_hour:
            retry_after_s = record["wait"] if record["wait"] is not None else _HOUR_S
        return TenantUsage(
            retry_after_s, record["live"] >= per_tenant, record["in_hour"], record["live"]
        )
