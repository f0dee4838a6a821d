"""Takes intentions in: one code for HTTP, pages and messages.

What it accepts is in the database, whole, when it returns.
"""

import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

from storefleet import logs, metrics
from storefleet.database import operations, outbox, stores, transitions
from storefleet.database.access import audit
from storefleet.database.limits import Room, find_answer, keep_answer, room
from storefleet.database.outbox import Draft
from storefleet.database.pool import Connection, Database
from storefleet.engines import Engine, Engines
from storefleet.errors import Conflict, Invalid, Limited, NameTaken, NotFound, RequestError
from storefleet.identifiers import OPERATION, STORE, new_id
from storefleet.ledger import cancelled_failure, end_cancelled
from storefleet.models import Caller, Operation, Store, now
from storefleet.settings import Settings

log = logs.get(__name__)

RESERVED = frozenset(
    [
        "www",
        "api",
        "admin",
        "administrator",
        "dashboard",
        "mail",
        "email",
        "smtp",
        "imap",
        "pop",
        "ftp",
        "ns",
        "ns1",
        "ns2",
        "mx",
        "autodiscover",
        "autoconfig",
        "app",
        "apps",
        "static",
        "assets",
        "cdn",
        "media",
        "status",
        "health",
        "healthz",
        "metrics",
        "live",
        "events",
        "notifier",
        "gateway",
        "provisioner",
        "reaper",
        "storefleet",
        "store",
        "stores",
        "shop",
        "login",
        "logout",
        "signin",
        "signup",
        "auth",
        "oauth",
        "sso",
        "account",
        "accounts",
        "billing",
        "support",
        "help",
        "docs",
        "blog",
        "localhost",
        "local",
        "internal",
        "root",
        "system",
        "test-system",
        "grafana",
        "prometheus",
        "traefik",
        "registry",
        "git",
    ]
)
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,38})[a-z0-9]")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class Accepted(NamedTuple):
    """What was accepted; `replayed` when an idempotency key had seen it before."""

    store: dict[str, Any]
    operation: dict[str, Any]
    replayed: bool = False


class Quota(NamedTuple):
    """What a tenant has left."""

    hour_limit: int
    hour_left: int
    stores_limit: int
    stores_left: int


def name_problem(name: str) -> str | None:
    """The rule that a store's name breaks, as a sentence, or None."""
    if not 3 <= len(name) <= 40:
        return "must have 3 to 40 characters"
    if not _NAME.fullmatch(name):
        return "may hold only a-z, 0-9 and hyphens, and neither begins nor ends with a hyphen"
    if "xn--" in name:
        return "may not hold “xn--”"
    if name in RESERVED:
        return "is reserved; choose another name"
    return None


class Admission:
    """Decides on new work and writes it down."""

    def __init__(
        self,
        *,
        database: Database,
        engines: Engines,
        settings: Settings,
        announce: Callable[[Draft], None] = lambda _command: None,
    ) -> None:
        """`announce` is told each new store's command when it is in the database, so that it need not wait there."""
        self._database = database
        self._engines = engines
        self._settings = settings
        self._announce = announce

    async def create(
        self,
        caller: Caller,
        *,
        name: str,
        engine: str | None,
        parameters: dict[str, Any],
        request_id: str | None,
        idempotency_key: str | None = None,
    ) -> Accepted:
        """A new store and its operation; raises Invalid, NameTaken, Limited, DatabaseAway."""
        try:
            accepted = await self._create(caller, name, engine, parameters, request_id, idempotency_key)
        except RequestError as error:
            metrics.ADMISSIONS.labels(error.code).inc()
            raise
        metrics.ADMISSIONS.labels("replayed" if accepted.replayed else "accepted").inc()
        return accepted

    async def _create(
        self,
        caller: Caller,
        name: str,
        engine: str | None,
        parameters: dict[str, Any],
        request_id: str | None,
        key: str | None,
    ) -> Accepted:
        request_hash = _request_hash(key, {"name": name, "engine": engine, "parameters": parameters})
        scope = f"{caller.tenant_id} POST stores"
        if problem := name_problem(name):
            raise Invalid(f"The name “{name[:60]}” {problem}.", errors=[("/name", problem)])
        kind = self._engines.get(engine or self._engines.default(self._settings.default_engine))
        complete = kind.complete(parameters)
        store = _new_store(caller, name, kind, complete)
        operation = self._new_operation(store, request_id)
        accepted = Accepted(store.to_json(), operation.to_json())
        command = outbox.command(operation)
        if key is None:
            async with self._database.connection(tells=outbox.CHANNEL) as conn:
                most = min(self._settings.stores_per_hour, self._settings.stores_per_tenant)
                written = await self._write(conn, caller, store, operation, command, most=most)
            if written:
                self._announce(command)
                log.info("store_requested", store_id=store.id, operation_id=operation.id, engine=kind.name)
                return accepted
        async with self._database.transaction(tells=outbox.CHANNEL) as conn:
            found = await self._room(conn, caller, hold=True)
            if key and (answer := await find_answer(conn, scope=scope, key=key)):
                if answer.request_hash != request_hash:
                    raise Invalid("This Idempotency-Key came with another body before.", code="idempotency_key_reused")
                return Accepted(answer.body["store"], answer.body["operation"], replayed=True)
            self._check_limits(found)
            await self._write(conn, caller, store, operation, command)
            if key:
                body = {"store": accepted.store, "operation": accepted.operation}
                await keep_answer(
                    conn, scope=scope, key=key, request_hash=request_hash, location=operation.id, body=body
                )
        self._announce(command)
        log.info("store_requested", store_id=store.id, operation_id=operation.id, engine=kind.name)
        return accepted

    async def _room(self, conn: Connection, caller: Caller, *, hold: bool) -> Room:
        return await room(
            conn,
            tenant_id=caller.tenant_id,
            per_hour=self._settings.stores_per_hour,
            per_tenant=self._settings.stores_per_tenant,
            hold=hold,
        )

    def _check_limits(self, found: Room) -> None:
        settings = self._settings
        if found.wait is not None:
            raise Limited(
                f"{settings.stores_per_hour} new stores an hour are allowed; the next one in {found.wait:.0f} s.",
                code="stores_per_hour",
                retry_after=max(1, found.wait),
            )
        if found.full:
            raise Limited(
                f"You have {settings.stores_per_tenant} stores, which is the limit; delete one first.",
                code="stores_per_tenant",
                retry_after=60,
            )

    def _new_operation(self, store: Store, request_id: str | None) -> Operation:
        return Operation(
            id=new_id(OPERATION),
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

    async def _write(
        self,
        conn: Connection,
        caller: Caller,
        store: Store,
        operation: Operation,
        command: Draft,
        *,
        most: int | None = None,
    ) -> bool:
        """Whether it was written: not when more than `most` stores were made; raises NameTaken."""
        drafts = (outbox.event("store.requested", store, operation), command)
        by = caller.token_id or caller.user_id
        written = await transitions.begin(conn, store, operation, *drafts, by=by, most=most)
        if written is False:
            raise NameTaken(
                f"There is a live store “{store.name}”; choose another name.", errors=[("/name", "is taken")]
            )
        return written is not None

    async def _add_operation(
        self,
        conn: Connection,
        caller: Caller,
        store: Store,
        kind: str,
        request_id: str | None,
        *,
        announced: bool = True,
    ) -> Operation:
        return await operations.add(
            conn,
            operation_id=new_id(OPERATION),
            tenant_id=caller.tenant_id,
            store_id=store.id,
            kind=kind,
            request_id=request_id,
            by=caller.token_id or caller.user_id,
            deadline=timedelta(seconds=self._settings.operation_deadline),
            announced=announced,
        )

    async def delete(self, caller: Caller, *, ref: str, request_id: str | None) -> Accepted:
        """Delete in every live state; a running create is cancelled first; a repeat answers the same operation."""
        async with self._database.transaction() as conn:
            store = await self._find(conn, caller, ref)
            pending = await operations.open_of_store(conn, store.id)
            if deleting := next((op for op in pending if op.kind == "delete"), None):
                return Accepted(store.to_json(), deleting.to_json())
            if store.state == "deleted":
                latest = (await operations.latest_of_stores(conn, [store.id]))[store.id]
                return Accepted(store.to_json(), latest.to_json())
            busy = False
            for operation in pending:
                if operation.state == "queued":
                    await end_cancelled(conn, operation)
                else:
                    await operations.request_cancel(conn, operation.id)
                    busy = True
            store = await stores.change(conn, store.id, state="deleting", failure=None)
            operation = await self._add_operation(conn, caller, store, "delete", request_id, announced=not busy)
            drafts = [outbox.event("store.deleting", store, operation)]
            if not busy:  # otherwise the one that ends announces it
                drafts.append(outbox.command(operation))
            await outbox.add(conn, *drafts)
            await _audit(conn, caller, "store.delete", store.id, request_id)
        log.info("store_delete_requested", store_id=store.id, operation_id=operation.id)
        return Accepted(store.to_json(), operation.to_json())

    async def retry(self, caller: Caller, *, ref: str, request_id: str | None) -> Accepted:
        """Run what failed again; what was done before is kept."""
        async with self._database.transaction() as conn:
            store = await self._find(conn, caller, ref)
            pending = await operations.open_of_store(conn, store.id)
            if store.state != "failed" or pending:
                raise Conflict(f"The store is {store.state}; only a failed one can be tried again.", code="not_failed")
            latest = (await operations.latest_of_stores(conn, [store.id]))[store.id]
            state, event = (
                ("deleting", "store.deleting") if latest.kind == "delete" else ("requested", "store.requested")
            )
            store = await stores.change(conn, store.id, state=state, failure=None)
            operation = await self._add_operation(conn, caller, store, latest.kind, request_id)
            await outbox.add(conn, outbox.event(event, store, operation), outbox.command(operation))
            await _audit(conn, caller, "store.retry", store.id, request_id)
        return Accepted(store.to_json(), operation.to_json())

    async def cancel(self, caller: Caller, *, operation_id: str, request_id: str | None) -> Operation:
        """Take a creation back; one that runs stops at its next step. An ended one is answered as it is."""
        async with self._database.transaction() as conn:
            operation = await operations.find(conn, tenant_id=caller.tenant_id, operation_id=operation_id)
            if operation is None:
                raise NotFound("There is no such operation.")
            store = await stores.find(conn, tenant_id=caller.tenant_id, ref=operation.store_id, lock=True)
            operation = await operations.find(conn, tenant_id=caller.tenant_id, operation_id=operation_id)
            if store is None or operation is None:
                raise NotFound("There is no such operation.")
            if operation.done:
                return operation
            if operation.kind != "create":
                raise Conflict("A deletion cannot be taken back.", code="not_cancellable")
            if operation.state == "queued":
                operation = await end_cancelled(conn, operation)
                store = await stores.change(conn, store.id, state="failed", failure=cancelled_failure())
                await outbox.add(conn, outbox.event("store.failed", store, operation))
            else:
                await operations.request_cancel(conn, operation.id)
                operation = operation.model_copy(update={"cancel_requested": True})
            await _audit(conn, caller, "operation.cancel", operation.id, request_id)
        return operation

    async def quota(self, caller: Caller) -> Quota:
        settings = self._settings
        async with self._database.connection() as conn:
            found = await self._room(conn, caller, hold=False)
        return Quota(
            settings.stores_per_hour,
            max(0, settings.stores_per_hour - found.in_hour),
            settings.stores_per_tenant,
            max(0, settings.stores_per_tenant - found.live),
        )

    async def _find(self, conn: Connection, caller: Caller, ref: str) -> Store:
        """The caller's store, locked; raises NotFound."""
        store = await stores.find(
            conn,
            tenant_id=caller.tenant_id,
            ref=ref,
            kept=timedelta(days=self._settings.keep_days),
            lock=True,
        )
        if store is None:
            raise NotFound("There is no such store.")
        return store


def _new_store(caller: Caller, name: str, engine: Engine, parameters: dict[str, Any]) -> Store:
    return Store(
        id=new_id(STORE),
        tenant_id=caller.tenant_id,
        name=name,
        engine=engine.name,
        engine_version=engine.default_version,
        parameters=parameters,
        state="requested",
        url=None,
        admin_url=None,
        failure=None,
        created_at=now(),
        ready_at=None,
        deleted_at=None,
        version=1,
    )


async def _audit(conn: Connection, caller: Caller, action: str, target: str, request_id: str | None) -> None:
    actor = caller.token_id or caller.user_id
    await audit(conn, tenant_id=caller.tenant_id, actor=actor, action=action, target=target, request_id=request_id)


def _request_hash(key: str | None, body: dict[str, Any]) -> bytes:
    if key is not None and not _KEY.fullmatch(key):
        raise Invalid("The Idempotency-Key must be 1 to 255 printable characters.", code="idempotency_key_invalid")
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()
