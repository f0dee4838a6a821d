"""What all that takes intentions in has in common: the caller's store, a new operation, a line in the audit log."""

from datetime import timedelta
from typing import Any, NamedTuple

from storefleet.core.errors import NotFound
from storefleet.core.identifiers import OPERATION_PREFIX, generate_id
from storefleet.core.models import Operation, Principal, Store
from storefleet.core.settings import Settings
from storefleet.database.repositories import Repositories


class Accepted(NamedTuple):
    """What was accepted; `replayed` when an idempotency key had seen it before."""

    store: dict[str, Any]
    operation: dict[str, Any]
    replayed: bool = False


async def lock_store(
    tx: Repositories, principal: Principal, store_ref: str, settings: Settings
) -> Store:
    """The caller's store, locked; raises NotFound."""
    kept = timedelta(days=settings.keep_days)
    store = await tx.stores.find(
        tenant_id=principal.tenant_id, store_ref=store_ref, retention=kept, lock=True
    )
    if store is None:
        raise NotFound("There is no such store.")
    return store


async def add_operation(
    tx: Repositories,
    principal: Principal,
    store: Store,
    kind: str,
    *,
    settings: Settings,
    request_id: str | None,
    dispatched: bool = True,
    operation_input: dict[str, Any] | None = None,
) -> Operation:
    """A queued operation of the store, `asked` for with this."""
    return await tx.operations.add(
        operation_id=generate_id(OPERATION_PREFIX),
        tenant_id=principal.tenant_id,
        store_id=store.id,
        kind=kind,
        request_id=request_id,
        requested_by=principal.token_id or principal.user_id,
        deadline=timedelta(seconds=settings.operation_deadline),
        dispatched=dispatched,
        operation_input=operation_input or {},
    )


async def add_audit_entry(
    tx: Repositories, principal: Principal, action: str, target: str, request_id: str | None
) -> None:
    """A line in the audit log."""
    actor = principal.token_id or principal.user_id
    await tx.audit_log.add_entry(
        tenant_id=principal.tenant_id,
        actor=actor,
        action=action,
        target=target,
        request_id=request_id,
    )
