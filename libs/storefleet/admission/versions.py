"""Admit changes of a store's engine version: upgrades and rollbacks.

Admission only records the operation. The version in the store's row changes when the operation
succeeds.
"""

from collections.abc import Callable
from typing import Any

from storefleet.admission.acceptance import Accepted, add_audit_entry, add_operation, lock_store
from storefleet.admission.requests import RollBackStore, UpgradeStore
from storefleet.core.errors import Conflict
from storefleet.core.lifecycle import (
    Activity,
    Occurrence,
    OperationKind,
    StoreState,
    find_transition,
)
from storefleet.core.models import Operation, Principal, Store
from storefleet.core.operation_inputs import (
    OperationInput,
    RollbackInput,
    UpgradeInput,
    VersionInput,
)
from storefleet.core.settings import Settings
from storefleet.database.outbox_rows import make_command, make_event
from storefleet.database.pool import Database
from storefleet.database.repositories import Repositories
from storefleet.engines.catalogue import EngineCatalogue
from storefleet.engines.descriptor import Engine
from storefleet.observability import logs

log = logs.get_logger(__name__)

_NEXT_STEP_BY_STATE = {
    StoreState.REQUESTED: "Wait until it is ready.",
    StoreState.PROVISIONING: "Wait until it is ready.",
    StoreState.UPGRADING: "Wait for its upgrade to end, or cancel it.",
    StoreState.ROLLING_BACK: "Wait for its rollback to end.",
    StoreState.FAILED: "Retry the failed operation first.",
    StoreState.DELETING: "Create a new store with that version.",
    StoreState.DELETED: "Create a new store with that version.",
}


class VersionAdmission:
    """Decides on changes of the engine version and records what it accepts."""

    def __init__(
        self,
        *,
        database: Database,
        engines: EngineCatalogue,
        settings: Settings,
        can_change_versions: bool,
    ) -> None:
        """Create the admission.

        Args:
            database: The database of the platform.
            engines: The known engines with their versions.
            settings: Deadlines and retention.
            can_change_versions: Whether the runtime can give a store another version.
        """
        self._database = database
        self._engines = engines
        self._settings = settings
        self._can_change_versions = can_change_versions

    async def upgrade_store(
        self, principal: Principal, request: UpgradeStore, *, request_id: str | None
    ) -> Accepted:
        """Upgrade a ready store to another version.

        Args:
            principal: Who requested it.
            request: The store and the version.
            request_id: The id of the HTTP request.

        Returns:
            The store and its upgrade; the open upgrade for a repeated request.

        Raises:
            NotFound: The tenant has no such store.
            InvalidRequest: The engine does not have the version.
            Conflict: The store is not ready or has the version already, or its runtime supports no
                version changes.
        """
        async with self._database.transaction() as tx:
            store = await lock_store(tx, principal, request.store_ref, self._settings)
            self._check_runtime()
            self._get_engine(store).choose_version(request.version)
            open_operations = await tx.operations.list_open(store.id)
            if same := _find_repeated(
                open_operations, lambda each: _is_same_upgrade(each, request)
            ):
                return Accepted(store, same)
            is_idle = store.state == StoreState.READY and not open_operations
            if is_idle and store.engine_version == request.version:
                raise Conflict(
                    f"The store has version {request.version} already. Choose another one.",
                    code="version_unchanged",
                )
            _check_ready(store, open_operations, "upgraded")
            versions = UpgradeInput(from_version=store.engine_version, to_version=request.version)
            return await self._accept_operation(
                tx, principal, store, OperationKind.UPGRADE, versions, request_id
            )

    async def roll_back_store(
        self, principal: Principal, request: RollBackStore, *, request_id: str | None
    ) -> Accepted:
        """Roll a ready store back to the version before its last upgrade.

        Args:
            principal: Who requested it.
            request: The store, and what happens to its data.
            request_id: The id of the HTTP request.

        Returns:
            The store and its rollback; the open rollback for a repeated request.

        Raises:
            NotFound: The tenant has no such store.
            Conflict: The store is not ready or has no upgrade to roll back, or its runtime supports
                no version changes.
        """
        async with self._database.transaction() as tx:
            store = await lock_store(tx, principal, request.store_ref, self._settings)
            self._check_runtime()
            open_operations = await tx.operations.list_open(store.id)
            if same := _find_repeated(
                open_operations, lambda each: _is_same_rollback(each, request)
            ):
                return Accepted(store, same)
            _check_ready(store, open_operations, "rolled back")
            upgrade = await tx.version_history.find_reversible_upgrade(store)
            if upgrade is None:
                raise Conflict(
                    f"The store did not get version {store.engine_version} by an upgrade, so"
                    " there is no version to roll back to. Upgrade it to the version that you"
                    " want.",
                    code="nothing_to_roll_back",
                )
            versions = RollbackInput(
                from_version=store.engine_version,
                to_version=upgrade.versions.from_version,
                restore=request.restore,
                discard_orders=request.discard_orders,
                dump=upgrade.id,  # a dump has the id of the upgrade that created it
            )
            return await self._accept_operation(
                tx,
                principal,
                store,
                OperationKind.ROLLBACK,
                versions,
                request_id,
                # A restore returns to the content of that time.
                baseline=upgrade.baseline if request.restore else None,
            )

    async def _accept_operation(
        self,
        tx: Repositories,
        principal: Principal,
        store: Store,
        kind: OperationKind,
        versions: VersionInput,
        request_id: str | None,
        baseline: dict[str, Any] | None = None,
    ) -> Accepted:
        transition = find_transition(store.state, Activity(kind), Occurrence.REQUESTED)
        operation = await add_operation(
            tx,
            principal,
            store,
            kind,
            versions,
            settings=self._settings,
            request_id=request_id,
            baseline=baseline,
        )
        await tx.outbox.add(make_event(transition.event, store, operation), make_command(operation))
        await add_audit_entry(tx, principal, f"store.{kind}", store.id, request_id)
        log.info(
            "version_change_requested",
            kind=kind,
            store_id=store.id,
            operation_id=operation.id,
            version=versions.to_version,
        )
        return Accepted(store, operation)

    def _check_runtime(self) -> None:
        if not self._can_change_versions:
            raise Conflict(
                "On this runtime a store keeps the version that it was created with. Either"
                " create a new store with the other version, or run the platform on Kubernetes.",
                code="cannot_change_versions",
            )

    def _get_engine(self, store: Store) -> Engine:
        engine = self._engines.find(store.engine)
        if engine is None:
            raise Conflict(
                f"The engine {store.engine} is no longer in the catalogue. Restore its folder"
                " (STOREFLEET_ENGINES_PATH).",
                code="engine_unavailable",
            )
        return engine


def _find_repeated(
    open_operations: list[Operation], is_same: Callable[[OperationInput], bool]
) -> Operation | None:
    """Find the open operation with the same input, unless it is rolling back."""
    return next((each for each in open_operations if not each.error and is_same(each.input)), None)


def _is_same_upgrade(operation_input: OperationInput, request: UpgradeStore) -> bool:
    return isinstance(operation_input, UpgradeInput) and (
        operation_input.to_version == request.version
    )


def _is_same_rollback(operation_input: OperationInput, request: RollBackStore) -> bool:
    return isinstance(operation_input, RollbackInput) and (
        (operation_input.restore, operation_input.discard_orders)
        == (request.restore, request.discard_orders)
    )


def _check_ready(store: Store, open_operations: list[Operation], participle: str) -> None:
    if store.state != StoreState.READY:
        raise Conflict(
            f"The store is {store.state.replace('_', ' ')}. Only a ready store can be"
            f" {participle}. {_NEXT_STEP_BY_STATE[store.state]}",
            code="not_ready",
        )
    if open_operations:
        other = open_operations[0]
        raise Conflict(
            f"Another {other.kind} of the store, to {other.versions.to_version}, is queued."
            f" Wait for it to end, or cancel the operation {other.id}.",
            code="not_ready",
        )
