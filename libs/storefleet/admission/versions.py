"""Takes in what changes a store's version: upgrades and rollbacks, for HTTP and pages."""

from typing import Any

from storefleet.admission.acceptance import Accepted, add_audit_entry, add_operation, lock_store
from storefleet.core.errors import Conflict
from storefleet.core.models import Operation, Principal, Store
from storefleet.core.settings import Settings
from storefleet.database.outbox_rows import make_command, make_event
from storefleet.database.pool import Database
from storefleet.database.repositories import Repositories
from storefleet.engines.catalogue import Engine, Engines
from storefleet.observability import logs

log = logs.get_logger(__name__)

_NEXT_STEP_BY_STATE = {
    "requested": "wait until it is made",
    "provisioning": "wait until it is made",
    "upgrading": "wait until its upgrade has ended, or cancel that",
    "rolling_back": "wait until it is back",
    "failed": "retry what failed first",
    "deleting": "create a new one with that version",
    "deleted": "create a new one with that version",
}


class VersionAdmission:
    """Decides on changes of version and writes them down; the version itself changes when the work has succeeded."""

    def __init__(
        self, *, database: Database, engines: Engines, settings: Settings, can_change_versions: bool
    ) -> None:
        """`possible` is whether stores can have another version where they run."""
        self._database = database
        self._engines = engines
        self._settings = settings
        self._can_change_versions = can_change_versions

    async def upgrade_store(
        self, principal: Principal, *, store_ref: str, version: str, request_id: str | None
    ) -> Accepted:
        """Another version for a ready store; a repetition answers the operation that is open."""
        async with self._database.transaction() as tx:
            store = await lock_store(tx, principal, store_ref, self._settings)
            self._check_runtime()
            self._find_engine(store).new_version(version)
            pending = await tx.operations.list_open(store.id)
            if same := _find_repeated(pending, "upgrade", {"to": version}):
                return Accepted(store.to_json(), same.to_json())
            if store.state == "ready" and store.engine_version == version and not pending:
                raise Conflict(
                    f"The store has version {version} already; choose another one.",
                    code="already_there",
                )
            _check_ready(store, pending, "upgraded")
            asked = {"from": store.engine_version, "to": version}
            return await self._accept_operation(tx, principal, store, "upgrade", asked, request_id)

    async def roll_back_store(
        self,
        principal: Principal,
        *,
        store_ref: str,
        restore: bool,
        discard_orders: bool,
        request_id: str | None,
    ) -> Accepted:
        """Back to the version before the last upgrade; a repetition answers the operation that is open."""
        async with self._database.transaction() as tx:
            store = await lock_store(tx, principal, store_ref, self._settings)
            self._check_runtime()
            pending = await tx.operations.list_open(store.id)
            how = {"restore": restore, "discard_orders": discard_orders}
            if same := _find_repeated(pending, "rollback", how):
                return Accepted(store.to_json(), same.to_json())
            _check_ready(store, pending, "rolled back")
            upgrade = await tx.version_history.find_reversible_upgrade(store)
            if upgrade is None:
                raise Conflict(
                    f"No upgrade has brought the store to {store.engine_version}, so there is nothing to go back to;"
                    " upgrade it to the version that you want.",
                    code="nothing_to_roll_back",
                )
            asked = {
                "from": store.engine_version,
                "to": upgrade.input["from"],
                **how,
                "dump": upgrade.id,
            }
            return await self._accept_operation(tx, principal, store, "rollback", asked, request_id)

    async def _accept_operation(
        self,
        tx: Repositories,
        principal: Principal,
        store: Store,
        kind: str,
        operation_input: dict[str, Any],
        request_id: str | None,
    ) -> Accepted:
        operation = await add_operation(
            tx,
            principal,
            store,
            kind,
            settings=self._settings,
            request_id=request_id,
            operation_input=operation_input,
        )
        await tx.outbox.add(make_event("store.step", store, operation), make_command(operation))
        await add_audit_entry(tx, principal, f"store.{kind}", store.id, request_id)
        log.info(
            "change_requested",
            kind=kind,
            store_id=store.id,
            operation_id=operation.id,
            version=operation_input["to"],
        )
        return Accepted(store.to_json(), operation.to_json())

    def _check_runtime(self) -> None:
        if not self._can_change_versions:
            raise Conflict(
                "On this runtime a store keeps the version that it was made with; create a new store with the other"
                " version, or run the platform on Kubernetes.",
                code="cannot_change_versions",
            )

    def _find_engine(self, store: Store) -> Engine:
        engine = self._engines.find(store.engine)
        if engine is None:
            raise Conflict(
                f"The engine {store.engine} is not known here any more; put its folder back (STOREFLEET_ENGINES_PATH).",
                code="engine_unavailable",
            )
        return engine


def _find_repeated(
    pending: list[Operation], kind: str, requested: dict[str, Any]
) -> Operation | None:
    """The open operation that was asked for the same; none that is on its way back already."""
    return next(
        (
            each
            for each in pending
            if each.kind == kind and not each.error and requested.items() <= each.input.items()
        ),
        None,
    )


def _check_ready(store: Store, pending: list[Operation], participle: str) -> None:
    if store.state != "ready":
        raise Conflict(
            f"The store is {store.state.replace('_', ' ')}; only a ready one can be {participle}: {_NEXT_STEP_BY_STATE[store.state]}.",
            code="not_ready",
        )
    if pending:
        what = pending[0]
        raise Conflict(
            f"Another {what.kind} of the store, to {what.input.get('to', '?')}, is about to begin; wait until it has"
            f" ended, or cancel the operation {what.id}.",
            code="not_ready",
        )
