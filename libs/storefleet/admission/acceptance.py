"""What all that takes intentions in has in common: the caller's store, a new operation, a line in the audit log."""

from datetime import timedelta
from typing import Any, NamedTuple

from storefleet.core.errors import NotFound
from storefleet.core.identifiers import OPERATION, new_id
from storefleet.core.models import Caller, Operation, Store
from storefleet.core.settings import Settings
from storefleet.database import operations, stores
from storefleet.database.access import audit
from storefleet.database.pool import Connection


class Accepted(NamedTuple):
    """What was accepted; `replayed` when an idempotency key had seen it before."""

    store: dict[str, Any]
    operation: dict[str, Any]
    replayed: bool = False


async def hold_store(conn: Connection, caller: Caller, ref: str, settings: Settings) -> Store:
    """The caller's store, locked; raises NotFound."""
    kept = timedelta(days=settings.keep_days)
    store = await stores.find(conn, tenant_id=caller.tenant_id, ref=ref, kept=kept, lock=True)
    if store is None:
        raise NotFound("There is no such store.")
    return store


async def add_operation(
    conn: Connection,
    caller: Caller,
    store: Store,
    kind: str,
    *,
    settings: Settings,
    request_id: str | None,
    announced: bool = True,
    asked: dict[str, Any] | None = None,
) -> Operation:
    """A queued operation of the store, `asked` for with this."""
    return await operations.add(
        conn,
        operation_id=new_id(OPERATION),
        tenant_id=caller.tenant_id,
        store_id=store.id,
        kind=kind,
        request_id=request_id,
        by=caller.token_id or caller.user_id,
        deadline=timedelta(seconds=settings.operation_deadline),
        announced=announced,
        asked=asked or {},
    )


async def note(
    conn: Connection, caller: Caller, action: str, target: str, request_id: str | None
) -> None:
    """A line in the audit log."""
    actor = caller.token_id or caller.user_id
    await audit(
        conn,
        tenant_id=caller.tenant_id,
        actor=actor,
        action=action,
        target=target,
        request_id=request_id,
    )
