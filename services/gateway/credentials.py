"""Reveal the admin credentials of a store, for the API and the dashboard."""

from storefleet.core.errors import Conflict
from storefleet.core.models import Principal, Store
from storefleet.database.pool import Database
from storefleet.runtimes.protocol import Runtime


async def reveal_credentials(
    database: Database, runtime: Runtime, principal: Principal, store: Store, request_id: str
) -> dict[str, str]:
    """Read a store's admin credentials and record the access in the audit log.

    The audit entry is committed before the credentials are returned. Raises Conflict if the store
    has no credentials: it is not created yet, or it is being deleted.
    """
    credentials = (
        await runtime.read_credentials(store)
        if store.state not in ("deleting", "deleted")
        else None
    )
    if credentials is None:
        raise Conflict(
            f"The store is {store.state} and has no admin credentials.", code="no_credentials"
        )
    async with database.transaction() as tx:
        await tx.audit_log.add_entry(
            tenant_id=principal.tenant_id,
            actor=principal.token_id or principal.user_id,
            action="credentials.reveal",
            target=store.id,
            request_id=request_id,
        )
    return credentials._asdict()
