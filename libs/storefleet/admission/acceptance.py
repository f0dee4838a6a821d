"""Shared parts of admission: results, locking a store, adding operations and audit entries."""

from datetime import timedelta
from typing import Any, NamedTuple

from storefleet.core.errors import NotFound
from storefleet.core.identifiers import OPERATION_PREFIX, generate_id
from storefleet.core.lifecycle import OperationKind
from storefleet.core.models import Operation, Principal, Store
from storefleet.core.operation_inputs import OperationInput
from storefleet.core.settings import Settings
from storefleet.database.repositories import Repositories


class Accepted(NamedTuple):
    """An accepted request: the store and the operation that works on it, as written."""

    store: Store
    operation: Operation

    @property
    def store_id(self) -> str:
        """The id of the store."""
        return self.store.id


class Replayed(NamedTuple):
    """A repeated request with an idempotency key: the JSON of its first response."""

    store: dict[str, Any]
    operation: dict[str, Any]

    @property
    def store_id(self) -> str:
        """The id of the store."""
        return str(self.store["id"])


async def lock_store(
    tx: Repositories, principal: Principal, store_ref: str, settings: Settings
) -> Store:
    """Find a store of the principal's tenant and lock its row.

    Args:
        tx: The transaction.
        principal: The principal that sent the request.
        store_ref: The store's id or its name.
        settings: The retention of deleted stores.

    Returns:
        The locked store.

    Raises:
        NotFound: The tenant has no such store.
    """
    store = await tx.stores.find(
        tenant_id=principal.tenant_id,
        store_ref=store_ref,
        retention=timedelta(days=settings.keep_days),
        lock=True,
    )
    if store is None:
        raise NotFound("Store not found.")
    return store


async def add_operation(
    tx: Repositories,
    principal: Principal,
    store: Store,
    kind: OperationKind,
    operation_input: OperationInput,
    *,
    settings: Settings,
    request_id: str | None,
    dispatched: bool = True,
    baseline: dict[str, Any] | None = None,
) -> Operation:
    """Add a queued operation to a store.

    Args:
        tx: The transaction.
        principal: Who requested it.
        store: The store, locked.
        kind: The kind of operation.
        operation_input: What was requested; its type belongs to `kind`.
        settings: The deadline of operations.
        request_id: The id of the HTTP request.
        dispatched: Whether its command is written in the same transaction.
        baseline: The baseline of an earlier operation that it continues or undoes.

    Returns:
        The operation.
    """
    return await tx.operations.add(
        operation_id=generate_id(OPERATION_PREFIX),
        tenant_id=principal.tenant_id,
        store_id=store.id,
        kind=kind,
        request_id=request_id,
        requested_by=get_actor_id(principal),
        deadline=timedelta(seconds=settings.operation_deadline),
        dispatched=dispatched,
        operation_input=operation_input.to_json(),
        baseline=baseline,
    )


async def add_audit_entry(
    tx: Repositories, principal: Principal, action: str, target: str, request_id: str | None
) -> None:
    """Record in the audit log that the principal did something.

    Args:
        tx: The transaction of the action itself.
        principal: Who did it.
        action: The action, such as `store.delete`.
        target: The id of the changed object.
        request_id: The id of the HTTP request.
    """
    await tx.audit_log.add_entry(
        tenant_id=principal.tenant_id,
        actor=get_actor_id(principal),
        action=action,
        target=target,
        request_id=request_id,
    )


def get_actor_id(principal: Principal) -> str:
    """Return the principal's id for operations and audit entries: the token's, else the user's."""
    return principal.token_id or principal.user_id
