"""The steps that dump and restore a store's database around a version change.

They run before anything has changed, or change all or nothing: their failures are raised as
`NothingChanged`, after which the store stays as it is.
"""

from storefleet.core.errors import NothingChanged, PermanentError
from storefleet.core.models import Store, format_timestamp
from storefleet.core.settings import Settings
from storefleet.runtimes.kubernetes.api.client import KubernetesClient
from storefleet.runtimes.kubernetes.manifests import StoreLocation, locate_store
from storefleet.runtimes.kubernetes.readiness.waiter import (
    STOP_MODE,
    VERSION_CHANGE_MODE,
    ReadinessWaiter,
)
from storefleet.runtimes.kubernetes.releases.installer import ReleaseInstaller
from storefleet.runtimes.kubernetes.tasks.dumps import (
    DumpRecord,
    DumpRecords,
    OrderCount,
    TaskResult,
)
from storefleet.runtimes.kubernetes.tasks.task_jobs import TaskJobs, make_job_name
from storefleet.runtimes.kubernetes.version_steps import get_version_change, scale_web, with_version
from storefleet.runtimes.protocol import StepContext, StepResult, VersionChange


class DatabaseSteps:
    """The steps that dump and restore databases, for all stores of a process."""

    def __init__(
        self,
        *,
        client: KubernetesClient,
        installer: ReleaseInstaller,
        readiness_waiter: ReadinessWaiter,
        task_jobs: TaskJobs,
        settings: Settings,
    ) -> None:
        self._client = client
        self._installer = installer
        self._readiness_waiter = readiness_waiter
        self._task_jobs = task_jobs
        self._dump_records = DumpRecords(client)
        self._settings = settings

    async def dump_database(self, context: StepContext) -> StepResult:
        """Dump the database before an upgrade, and record the dump.

        Raises:
            NothingChanged: The dump failed, or the origin or target version cannot be installed, so
                that either the upgrade or its rollback would fail.
        """
        location, change = self._locate_store(context.store), get_version_change(context)
        try:
            for version in (change.to_version, change.from_version):
                self._installer.get_engine(with_version(context, version).store)
            content = await self._task_jobs.run_task(
                context, location, "dump", env=_make_task_env(context)
            )
            dump = TaskResult("dump", content).parse_dump()
        except PermanentError as error:
            raise _make_nothing_changed(error) from None
        await context.check_ownership()
        await self._dump_records.record_dump(context.store, location, context.operation_id, dump)
        await self._task_jobs.delete_job(location, make_job_name(context, "dump"))
        size_kb = max(1, round(dump.bytes / 1000))
        return StepResult(f"The database is dumped ({size_kb:,} kB)")

    async def count_orders(self, context: StepContext) -> StepResult:
        """Count the orders that restoring the dump would delete.

        Raises:
            NothingChanged: There are some, and the request does not accept their loss; or the
                target version cannot be installed; or the dump is not kept any more.
        """
        target = with_version(context, get_version_change(context).to_version)
        try:
            self._installer.get_engine(target.store)
        except PermanentError as error:
            raise _make_nothing_changed(error) from None
        orders = await self._count_orders(context, "orders")
        if not orders.count:
            return StepResult("No orders will be lost")
        return StepResult(f"{orders.count} order(s) will be lost, as the request accepts")

    async def stop_store(self, context: StepContext) -> StepResult:
        """Stop the web pods, then count again the orders that came in since the first count.

        Raises:
            NothingChanged: There are new orders; the store was started again.
        """
        location = self._locate_store(context.store)
        await scale_web(self._client, context, location, 0)
        await self._readiness_waiter.wait_until_ready(context, location, STOP_MODE)
        if not get_version_change(context).discard_orders:
            try:
                await self._count_orders(context, "recount")
            except NothingChanged:
                await self._restart_store(context, location)
                raise
        return StepResult("The store is stopped")

    async def restore_database(self, context: StepContext) -> StepResult:
        """Restore the dump, completely or not at all.

        Raises:
            NothingChanged: The restore failed; the store was started again with its current data.
        """
        location = self._locate_store(context.store)
        try:
            await self._task_jobs.run_task(
                context, location, "restore", env=_make_task_env(context)
            )
        except PermanentError as error:
            await self._restart_store(context, location)
            raise _make_nothing_changed(error) from None
        await self._task_jobs.delete_job(location, make_job_name(context, "restore"))
        return StepResult("The database is restored to the state before the upgrade")

    async def _count_orders(self, context: StepContext, job: str) -> OrderCount:
        """Run the task `orders` as a Job of this name, and check that no orders would be lost."""
        location, change = self._locate_store(context.store), get_version_change(context)
        try:
            dump = await self._get_dump(location, change)
            env = {**_make_task_env(context), "STOREFLEET_SINCE": str(format_timestamp(dump.at))}
            content = await self._task_jobs.run_task(context, location, "orders", name=job, env=env)
            orders = TaskResult("orders", content).parse_order_count()
        except PermanentError as error:
            raise _make_nothing_changed(error) from None
        await self._task_jobs.delete_job(location, make_job_name(context, job))
        if orders.count and not change.discard_orders:
            raise _make_orders_lost_error(orders, dump)
        return orders

    async def _get_dump(self, location: StoreLocation, change: VersionChange) -> DumpRecord:
        dump = await self._dump_records.find_dump(location, change.dump_operation_id)
        if dump is None:
            raise PermanentError(
                "dump_missing",
                "The dump that was made before this upgrade does not exist any more: only the"
                " newest three dumps of a store are kept.",
                next_step="Roll back without restore: it changes the version and keeps the data.",
            )
        return dump

    async def _restart_store(self, context: StepContext, location: StoreLocation) -> None:
        await scale_web(self._client, context, location, 1)
        await self._readiness_waiter.wait_until_ready(context, location, VERSION_CHANGE_MODE)

    def _locate_store(self, store: Store) -> StoreLocation:
        return locate_store(store, self._settings)


def _make_task_env(context: StepContext) -> dict[str, str]:
    """Make the environment of every task: the name of the dump."""
    return {"STOREFLEET_DUMP": get_version_change(context).dump_operation_id}


def _make_nothing_changed(error: PermanentError) -> NothingChanged:
    if isinstance(error, NothingChanged):
        return error
    return NothingChanged(error.code, error.detail, next_step=error.next_step)


def _make_orders_lost_error(orders: OrderCount, dump: DumpRecord) -> NothingChanged:
    listed = "; ".join(str(order) for order in orders.orders)
    more = ""
    if orders.count > len(orders.orders) > 0:
        more = f"; and {orders.count - len(orders.orders)} more"
    return NothingChanged(
        "orders_would_be_lost",
        f"{orders.count} order(s) came in after the dump of {format_timestamp(dump.at)} and would"
        f" be lost: {listed}{more}.",
        next_step="Repeat the rollback with “discard_orders”: true to accept their loss, or roll"
        " back without restore to keep them.",
    )
