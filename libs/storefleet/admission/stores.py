"""Takes intentions in: one code for HTTP, pages and messages.

What it accepts is in the database, whole, when it returns.
"""

import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

from storefleet.admission.acceptance import Accepted, add_audit_entry, add_operation, lock_store
from storefleet.core.errors import (
    Conflict,
    InvalidRequest,
    LimitExceeded,
    NameTaken,
    NotFound,
    RequestError,
)
from storefleet.core.identifiers import OPERATION_PREFIX, STORE_PREFIX, generate_id
from storefleet.core.models import Operation, Principal, Store, utc_now
from storefleet.core.settings import Settings
from storefleet.core.store_names import find_name_problem
from storefleet.database.outbox import OUTBOX_CHANNEL
from storefleet.database.outbox_rows import OutboxRow, make_command, make_event
from storefleet.database.pool import Database
from storefleet.database.repositories import Repositories
from storefleet.database.tenants import TenantUsage
from storefleet.database.transitions import AddStoreResult
from storefleet.engines.catalogue import Engine, Engines
from storefleet.observability import logs, metrics
from storefleet.operations.termination import cancel_operation, mark_cancelled

log = logs.get_logger(__name__)

_IDEMPOTENCY_KEY_PATTERN = re.compile(r"[\x21-\x7e]{1,255}")


class Quota(NamedTuple):
    """What a tenant has left."""

    hour_limit: int
    hour_left: int
    stores_limit: int
    stores_left: int


class StoreAdmission:
    """Decides on new work and writes it down."""

    def __init__(
        self,
        *,
        database: Database,
        engines: Engines,
        settings: Settings,
        dispatch_command: Callable[[OutboxRow], None] = lambda _command: None,
    ) -> None:
        """`announce` is told each new store's command when it is in the database, so that it need not wait there."""
        self._database = database
        self._engines = engines
        self._settings = settings
        self._dispatch_command = dispatch_command

    async def create_store(
        self,
        principal: Principal,
        *,
        name: str,
        engine: str | None,
        parameters: dict[str, Any],
        request_id: str | None,
        version: str | None = None,
        plan: str | None = None,
        idempotency_key: str | None = None,
    ) -> Accepted:
        """A new store and its operation; raises Invalid, NameTaken, Limited, DatabaseUnavailable."""
        asked: dict[str, Any] = {"name": name, "engine": engine, "parameters": parameters}
        asked |= {
            key: value for key, value in (("version", version), ("plan", plan)) if value is not None
        }
        try:
            accepted = await self._create_store(principal, asked, request_id, idempotency_key)
        except RequestError as error:
            metrics.ADMISSIONS.labels(error.code).inc()
            raise
        metrics.ADMISSIONS.labels("replayed" if accepted.replayed else "accepted").inc()
        return accepted

    async def _create_store(
        self, principal: Principal, asked: dict[str, Any], request_id: str | None, key: str | None
    ) -> Accepted:
        request_hash = _hash_request(key, asked)
        name = asked["name"]
        scope = f"{principal.tenant_id} POST stores"
        if problem := find_name_problem(name):
            raise InvalidRequest(f"The name “{name[:60]}” {problem}.", errors=[("/name", problem)])
        kind = self._engines.get(
            asked["engine"] or self._engines.default(self._settings.default_engine)
        )
        store = _make_store(principal, kind, asked)
        operation = self._make_operation(store, request_id)
        accepted = Accepted(store.to_json(), operation.to_json())
        command = make_command(operation)
        if key is None:
            async with self._database.autocommit(notify=OUTBOX_CHANNEL) as db:
                most = min(self._settings.stores_per_hour, self._settings.stores_per_tenant)
                written = await self._insert_store(
                    db, principal, store, operation, command, max_created=most
                )
            if written:
                self._dispatch_command(command)
                log.info(
                    "store_requested",
                    store_id=store.id,
                    operation_id=operation.id,
                    engine=kind.name,
                )
                return accepted
        async with self._database.transaction(notify=OUTBOX_CHANNEL) as tx:
            found = await self._read_usage(tx, principal, lock=True)
            if key and (answer := await tx.idempotency_keys.find_response(scope=scope, key=key)):
                if answer.request_hash != request_hash:
                    raise InvalidRequest(
                        "This Idempotency-Key came with another body before.",
                        code="idempotency_key_reused",
                    )
                return Accepted(answer.body["store"], answer.body["operation"], replayed=True)
            self._check_limits(found)
            await self._insert_store(tx, principal, store, operation, command)
            if key:
                body = {"store": accepted.store, "operation": accepted.operation}
                await tx.idempotency_keys.store_response(
                    scope=scope,
                    key=key,
                    request_hash=request_hash,
                    location=operation.id,
                    body=body,
                )
        self._dispatch_command(command)
        log.info("store_requested", store_id=store.id, operation_id=operation.id, engine=kind.name)
        return accepted

    async def _read_usage(
        self, tx: Repositories, principal: Principal, *, lock: bool
    ) -> TenantUsage:
        return await tx.tenants.read_usage(
            principal.tenant_id,
            per_hour=self._settings.stores_per_hour,
            per_tenant=self._settings.stores_per_tenant,
            lock=lock,
        )

    def _check_limits(self, usage: TenantUsage) -> None:
        settings = self._settings
        if usage.retry_after_s is not None:
            raise LimitExceeded(
                f"{settings.stores_per_hour} new stores an hour are allowed; the next one in {usage.retry_after_s:.0f} s.",
                code="stores_per_hour",
                retry_after=max(1, usage.retry_after_s),
            )
        if usage.is_full:
            raise LimitExceeded(
                f"You have {settings.stores_per_tenant} stores, which is the limit; delete one first.",
                code="stores_per_tenant",
                retry_after=60,
            )

    def _make_operation(self, store: Store, request_id: str | None) -> Operation:
        return Operation(
            id=generate_id(OPERATION_PREFIX),
            tenant_id=store.tenant_id,
            store_id=store.id,
            kind="create",
            state="queued",
            error=None,
            attempt=1,
            cancel_requested=False,
            fence=0,
            request_id=request_id,
            deadline=store.created_at + timedelta(seconds=self._settings.operation_deadline),
            run_after=store.created_at,
            created_at=store.created_at,
            started_at=None,
            finished_at=None,
        )

    async def _insert_store(
        self,
        tx: Repositories,
        principal: Principal,
        store: Store,
        operation: Operation,
        command: OutboxRow,
        *,
        max_created: int | None = None,
    ) -> bool:
        """Whether it was written: not when more than `most` stores were made; raises NameTaken."""
        drafts = (make_event("store.requested", store, operation), command)
        by = principal.token_id or principal.user_id
        result = await tx.transitions.add_store(
            store, operation, *drafts, requested_by=by, max_created=max_created
        )
        if result is AddStoreResult.NAME_TAKEN:
            raise NameTaken(
                f"There is a live store “{store.name}”; choose another name.",
                errors=[("/name", "is taken")],
            )
        return result is AddStoreResult.ADDED

    async def delete_store(
        self, principal: Principal, *, store_ref: str, request_id: str | None
    ) -> Accepted:
        """Delete in every live state; a running create is cancelled first; a repeat answers the same operation."""
        async with self._database.transaction() as tx:
            store = await lock_store(tx, principal, store_ref, self._settings)
            pending = await tx.operations.list_open(store.id)
            if deleting := next((op for op in pending if op.kind == "delete"), None):
                return Accepted(store.to_json(), deleting.to_json())
            if store.state == "deleted":
                latest = (await tx.operations.find_latest_by_store([store.id]))[store.id]
                return Accepted(store.to_json(), latest.to_json())
            busy = False
            for operation in pending:
                if operation.state == "queued":
                    await mark_cancelled(tx, operation)
                else:
                    await tx.operations.request_cancel(operation.id)
                    busy = True
            store = await tx.stores.update(store.id, state="deleting", failure=None)
            operation = await add_operation(
                tx,
                principal,
                store,
                "delete",
                settings=self._settings,
                request_id=request_id,
                dispatched=not busy,
            )
            drafts = [make_event("store.deleting", store, operation)]
            if not busy:  # otherwise the one that ends announces it
                drafts.append(make_command(operation))
            await tx.outbox.add(*drafts)
            await add_audit_entry(tx, principal, "store.delete", store.id, request_id)
        log.info("store_delete_requested", store_id=store.id, operation_id=operation.id)
        return Accepted(store.to_json(), operation.to_json())

    async def retry_operation(
        self, principal: Principal, *, store_ref: str, request_id: str | None
    ) -> Accepted:
        """Run what failed again; what was done before is kept."""
        async with self._database.transaction() as tx:
            store = await lock_store(tx, principal, store_ref, self._settings)
            pending = await tx.operations.list_open(store.id)
            if store.state != "failed" or pending:
                raise Conflict(
                    f"The store is {store.state}; only a failed one can be tried again.",
                    code="not_failed",
                )
            latest = (await tx.operations.find_latest_by_store([store.id]))[store.id]
            kind, state, asked = _choose_retry(store, latest)
            store = await tx.stores.update(store.id, state=state, failure=None)
            operation = await add_operation(
                tx,
                principal,
                store,
                kind,
                settings=self._settings,
                request_id=request_id,
                operation_input=asked,
            )
            await tx.outbox.add(
                make_event(f"store.{state}", store, operation),
                make_command(operation),
            )
            await add_audit_entry(tx, principal, "store.retry", store.id, request_id)
        return Accepted(store.to_json(), operation.to_json())

    async def cancel_operation(
        self, principal: Principal, *, operation_id: str, request_id: str | None
    ) -> Operation:
        """Take a creation or an upgrade back; one that runs stops at its next step. An ended one stays as it is."""
        async with self._database.transaction() as tx:
            operation = await tx.operations.find(
                tenant_id=principal.tenant_id, operation_id=operation_id
            )
            if operation is None:
                raise NotFound("There is no such operation.")
            store = await tx.stores.find(
                tenant_id=principal.tenant_id, store_ref=operation.store_id, lock=True
            )
            operation = await tx.operations.find(
                tenant_id=principal.tenant_id, operation_id=operation_id
            )
            if store is None or operation is None:
                raise NotFound("There is no such operation.")
            if operation.done:
                return operation
            if reason := _explain_not_cancellable(store, operation):
                raise Conflict(reason, code="not_cancellable")
            if operation.state == "queued":
                operation = await cancel_operation(tx, store, operation)
            else:
                await tx.operations.request_cancel(operation.id)
                operation = operation.model_copy(update={"cancel_requested": True})
            await add_audit_entry(tx, principal, "operation.cancel", operation.id, request_id)
        return operation

    async def read_quota(self, principal: Principal) -> Quota:
        settings = self._settings
        async with self._database.autocommit() as db:
            found = await self._read_usage(db, principal, lock=False)
        return Quota(
            settings.stores_per_hour,
            max(0, settings.stores_per_hour - found.created_in_hour),
            settings.stores_per_tenant,
            max(0, settings.stores_per_tenant - found.live_stores),
        )


def _make_store(principal: Principal, engine: Engine, asked: dict[str, Any]) -> Store:
    """Raises Invalid where the engine has no such version or plan, or the parameters do not fit it."""
    return Store(
        id=generate_id(STORE_PREFIX),
        tenant_id=principal.tenant_id,
        name=asked["name"],
        engine=engine.name,
        engine_version=engine.new_version(asked.get("version")),
        plan=engine.new_plan(asked.get("plan")),
        parameters=engine.complete(asked["parameters"]),
        state="requested",
        url=None,
        admin_url=None,
        failure=None,
        created_at=utc_now(),
        ready_at=None,
        deleted_at=None,
        version=1,
    )


def _choose_retry(store: Store, latest: Operation) -> tuple[str, str, dict[str, Any]]:
    """What is to be done about a failed store: kind of operation, state of the store, what is asked for.

    An upgrade that failed on its way back, too, is not begun again: the store goes back to the version it had.
    """
    if latest.kind == "upgrade":
        back = {
            "from": latest.input["to"],
            "to": store.engine_version,
            "restore": False,
            "discard_orders": False,
        }
        return "rollback", "rolling_back", {**back, "dump": latest.id}
    state = {"delete": "deleting", "rollback": "rolling_back"}.get(latest.kind, "requested")
    return latest.kind, state, latest.input


def _explain_not_cancellable(store: Store, operation: Operation) -> str | None:
    """Why an open operation cannot be taken back any more."""
    if operation.kind == "delete":
        return "A deletion cannot be taken back."
    if operation.kind == "upgrade" and operation.error:
        return f"The upgrade is on its way back to {operation.input['from']} already; wait for it."
    if operation.kind == "rollback" and store.state != "ready":
        return "A rollback that has begun cannot be taken back; wait for it, then upgrade again."
    return None


def _hash_request(key: str | None, body: dict[str, Any]) -> bytes:
    if key is not None and not _IDEMPOTENCY_KEY_PATTERN.fullmatch(key):
        raise InvalidRequest(
            "The Idempotency-Key must be 1 to 255 printable characters.",
            code="idempotency_key_invalid",
        )
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()
