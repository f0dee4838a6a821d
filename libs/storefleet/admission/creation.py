"""Admit new stores: validate the request, count it against the tenant's limits, record it.

When `create_store` returns, the store, its operation, the event and the command are committed.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

from storefleet.admission.acceptance import Accepted, Replayed, get_actor_id
from storefleet.admission.idempotency import (
    check_idempotency_key,
    find_first_response,
    store_first_response,
)
from storefleet.admission.requests import CreateStore
from storefleet.core.errors import InvalidRequest, LimitExceeded, NameTaken, RequestError
from storefleet.core.identifiers import OPERATION_PREFIX, STORE_PREFIX, generate_id
from storefleet.core.lifecycle import (
    Activity,
    Occurrence,
    OperationKind,
    OperationState,
    find_transition,
)
from storefleet.core.models import Operation, Principal, Store, utc_now
from storefleet.core.settings import Settings
from storefleet.core.store_names import find_name_problem
from storefleet.database.outbox_rows import OutboxRow, make_command, make_event
from storefleet.database.pool import Database
from storefleet.database.repositories import Repositories
from storefleet.database.repositories.outbox import OUTBOX_CHANNEL
from storefleet.database.repositories.tenants import TenantUsage
from storefleet.database.repositories.transitions import AddStoreResult
from storefleet.engines.catalogue import EngineCatalogue
from storefleet.engines.descriptor import Engine
from storefleet.observability import logs, metrics

log = logs.get_logger(__name__)

_CREATE = find_transition(None, Activity.CREATE, Occurrence.REQUESTED)


class Quota(NamedTuple):
    """The limits of a tenant, and how much of them is left."""

    hour_limit: int
    hour_left: int
    stores_limit: int
    stores_left: int


class StoreCreation:
    """Admits new stores: checks name and limits, then writes store, operation and command."""

    def __init__(
        self,
        *,
        database: Database,
        engines: EngineCatalogue,
        settings: Settings,
        dispatch_command: Callable[[OutboxRow], None],
    ) -> None:
        """Create the admission of new stores.

        Args:
            database: The database of the platform.
            engines: The engines that can be requested.
            settings: Limits, deadline and default engine.
            dispatch_command: Publishes a committed command at once, ahead of the relay's next read
                of the outbox.
        """
        self._database = database
        self._engines = engines
        self._settings = settings
        self._dispatch_command = dispatch_command

    async def create_store(
        self,
        principal: Principal,
        request: CreateStore,
        *,
        request_id: str | None,
        idempotency_key: str | None = None,
    ) -> Accepted | Replayed:
        """Create a store and dispatch its create operation.

        Args:
            principal: Who requested it.
            request: The requested store.
            request_id: The id of the HTTP request.
            idempotency_key: A repeated request with this key returns the first response.

        Returns:
            The store and its operation, or the first response of the key.

        Raises:
            InvalidRequest: The request breaks a rule, or the key was used with another request.
            NameTaken: A live store has the name.
            LimitExceeded: The tenant has reached one of its limits.
            DatabaseUnavailable: PostgreSQL does not answer.
        """
        try:
            admitted = await self._create_store(principal, request, request_id, idempotency_key)
        except RequestError as error:
            metrics.ADMISSIONS.labels(error.code).inc()
            raise
        outcome = "replayed" if isinstance(admitted, Replayed) else "accepted"
        metrics.ADMISSIONS.labels(outcome).inc()
        return admitted

    async def read_quota(self, principal: Principal) -> Quota:
        """Read how much of its limits the principal's tenant has left."""
        settings = self._settings
        async with self._database.autocommit() as db:
            usage = await self._read_usage(db, principal, lock=False)
        return Quota(
            settings.stores_per_hour,
            max(0, settings.stores_per_hour - usage.created_in_hour),
            settings.stores_per_tenant,
            max(0, settings.stores_per_tenant - usage.live_stores),
        )

    async def _create_store(
        self,
        principal: Principal,
        request: CreateStore,
        request_id: str | None,
        key: str | None,
    ) -> Accepted | Replayed:
        check_idempotency_key(key)
        if problem := find_name_problem(request.name):
            raise InvalidRequest(
                f"The name “{request.name[:60]}” {problem}.", errors=[("/name", problem)]
            )
        engine = self._engines.get_offered(
            request.engine or self._engines.get_default_name(self._settings.default_engine)
        )
        store = _make_store(principal, engine, request)
        operation = self._make_operation(store, request_id)
        command = make_command(operation)
        if key is None and await self._try_add_without_counting(
            principal, store, operation, command
        ):
            return self._report_accepted(store, operation, command)
        async with self._database.transaction(notify=OUTBOX_CHANNEL) as tx:
            usage = await self._read_usage(tx, principal, lock=True)
            if key and (first := await find_first_response(tx, principal, key, request)):
                return first
            self._check_limits(usage)
            await self._add_store(tx, principal, store, operation, command)
            if key:
                accepted = Accepted(store, operation)
                await store_first_response(tx, principal, key, request, accepted)
        return self._report_accepted(store, operation, command)

    async def _try_add_without_counting(
        self, principal: Principal, store: Store, operation: Operation, command: OutboxRow
    ) -> bool:
        """Add the store in one statement, if the tenant cannot have reached a limit.

        A tenant that has created fewer stores in total than each limit allows is below both limits.
        """
        max_created = min(self._settings.stores_per_hour, self._settings.stores_per_tenant)
        async with self._database.autocommit(notify=OUTBOX_CHANNEL) as db:
            return await self._add_store(
                db, principal, store, operation, command, max_created=max_created
            )

    async def _add_store(
        self,
        db: Repositories,
        principal: Principal,
        store: Store,
        operation: Operation,
        command: OutboxRow,
        *,
        max_created: int | None = None,
    ) -> bool:
        """Write the store with its operation; return False when its limits have to be checked."""
        result = await db.transitions.add_store(
            store,
            operation,
            make_event(_CREATE.event, store, operation),
            command,
            requested_by=get_actor_id(principal),
            max_created=max_created,
        )
        if result is AddStoreResult.NAME_TAKEN:
            raise NameTaken(
                f"There is a live store “{store.name}”. Choose another name.",
                errors=[("/name", "is taken")],
            )
        return result is AddStoreResult.ADDED

    def _report_accepted(self, store: Store, operation: Operation, command: OutboxRow) -> Accepted:
        """Publish the command of a committed creation and log it."""
        self._dispatch_command(command)
        log.info(
            "store_requested",
            store_id=store.id,
            operation_id=operation.id,
            engine=store.engine,
        )
        return Accepted(store, operation)

    async def _read_usage(
        self, db: Repositories, principal: Principal, *, lock: bool
    ) -> TenantUsage:
        return await db.tenants.read_usage(
            principal.tenant_id,
            per_hour=self._settings.stores_per_hour,
            per_tenant=self._settings.stores_per_tenant,
            lock=lock,
        )

    def _check_limits(self, usage: TenantUsage) -> None:
        settings = self._settings
        if usage.retry_after_s is not None:
            raise LimitExceeded(
                f"A tenant may create {settings.stores_per_hour} stores an hour."
                f" Create the next one in {usage.retry_after_s:.0f} s.",
                code="stores_per_hour",
                retry_after=max(1, usage.retry_after_s),
            )
        if usage.is_full:
            raise LimitExceeded(
                f"You have {settings.stores_per_tenant} stores, which is the limit."
                " Delete one first.",
                code="stores_per_tenant",
                retry_after=60,
            )

    def _make_operation(self, store: Store, request_id: str | None) -> Operation:
        return Operation(
            id=generate_id(OPERATION_PREFIX),
            tenant_id=store.tenant_id,
            store_id=store.id,
            kind=OperationKind.CREATE,
            state=OperationState.QUEUED,
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


def _make_store(principal: Principal, engine: Engine, request: CreateStore) -> Store:
    """Make the row of a new store; the engine rejects versions, plans and parameters it lacks."""
    return Store(
        id=generate_id(STORE_PREFIX),
        tenant_id=principal.tenant_id,
        name=request.name,
        engine=engine.name,
        engine_version=engine.choose_version(request.version),
        plan=engine.choose_plan(request.plan),
        parameters=engine.complete_parameters(request.parameters),
        state=_CREATE.target,
        url=None,
        admin_url=None,
        failure=None,
        created_at=utc_now(),
        ready_at=None,
        deleted_at=None,
        version=1,
    )
