"""Gives a store another version: upgrades, their way back, and rollbacks; each step goes on from what is there.

The version from before serves until the new one shows the shop, so every doubt is in favour of going back.
"""

from dataclasses import replace

from storefleet.core.errors import NothingChanged, PermanentError, TransientError
from storefleet.core.models import format_timestamp
from storefleet.core.settings import Settings
from storefleet.observability.failpoints import effect
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.client import KubernetesClient
from storefleet.runtimes.kubernetes.create_steps import CreateSteps
from storefleet.runtimes.kubernetes.manifests import StoreLocation, locate_store
from storefleet.runtimes.kubernetes.readiness import readiness_wait
from storefleet.runtimes.kubernetes.readiness.readiness_wait import ReadinessWaiter
from storefleet.runtimes.kubernetes.releases.installer import ReleaseInstaller
from storefleet.runtimes.kubernetes.tasks.dumps import (
    DumpRecord,
    DumpRecords,
    OrderCount,
    TaskResult,
)
from storefleet.runtimes.kubernetes.tasks.task_jobs import TaskJobs, make_job_name
from storefleet.runtimes.protocol import StepContext, StepResult, VersionChange

_STOREFRONT_TIMEOUT_S = 45.0


class VersionSteps:
    """The steps of one change after the other, for all stores of a process."""

    def __init__(
        self,
        *,
        client: KubernetesClient,
        installer: ReleaseInstaller,
        readiness_waiter: ReadinessWaiter,
        create_steps: CreateSteps,
        tasks: TaskJobs,
        settings: Settings,
    ) -> None:
        self._client = client
        self._installer = installer
        self._readiness_waiter = readiness_waiter
        self._create_steps = create_steps
        self._tasks = tasks
        self._dumps = DumpRecords(client)
        self._settings = settings

    # before anything changes ----------------------------------------------------------------------------------------

    async def dump_database(self, work: StepContext) -> StepResult:
        """Unchanged when it fails, or when there would be no way there or back: the store is as it was."""
        place, change = self._locate_store(work), _get_change(work)
        try:
            for version in (change.target, change.origin):
                self._installer.get_engine(_with_version(work, version).store)
            answer = TaskResult(
                "dump", await self._tasks.run_task(work, place, "dump", env=_make_task_env(work))
            )
            dump = answer.parse_dump()
        except PermanentError as error:
            raise _make_nothing_changed(error) from None
        await work.check_ownership()
        await self._dumps.record_dump(work.store, place, work.operation_id, dump)
        await self._tasks.delete_job(place, make_job_name(work, "dump"))
        return StepResult(f"The database is dumped ({max(1, round(dump.bytes / 1000)):,} kB)")

    async def count_orders(self, work: StepContext) -> StepResult:
        """Unchanged when orders would go, and nobody has said that they may."""
        try:
            self._installer.get_engine(_with_version(work, _get_change(work).target).store)
        except PermanentError as error:
            raise _make_nothing_changed(error) from None
        found = await self._count_orders(work, "orders")
        if not found.count:
            return StepResult("No order would go")
        return StepResult(f"{found.count} order(s) will go, as was asked for")

    async def _count_orders(self, work: StepContext, name: str) -> OrderCount:
        place, change = self._locate_store(work), _get_change(work)
        try:
            dump = await self._get_dump(place, change)
            env = {**_make_task_env(work), "STOREFLEET_SINCE": str(format_timestamp(dump.at))}
            answer = TaskResult(
                "orders", await self._tasks.run_task(work, place, "orders", name=name, env=env)
            )
            found = answer.parse_order_count()
        except PermanentError as error:
            raise _make_nothing_changed(error) from None
        await self._tasks.delete_job(place, make_job_name(work, name))
        if found.count and not change.discard_orders:
            raise _make_orders_lost_error(found, dump)
        return found

    async def _get_dump(self, place: StoreLocation, change: VersionChange) -> DumpRecord:
        dump = await self._dumps.find_dump(place, change.dump)
        if dump is None:
            raise PermanentError(
                "dump_missing",
                "The dump that was made before this upgrade is not kept any more: of each store the newest three are.",
                next_step="Roll back without restore: it changes the version and keeps the data.",
            )
        return dump

    # the dump comes back --------------------------------------------------------------------------------------------

    async def stop_store(self, work: StepContext) -> StepResult:
        """From here on nobody orders; who did in the meantime is asked for once more."""
        place = self._locate_store(work)
        await self._scale_web(work, place, 0)
        await self._readiness_waiter.wait_until_ready(work, place, readiness_wait.STOP_MODE)
        if not _get_change(work).discard_orders:
            try:
                await self._count_orders(work, "recount")
            except NothingChanged:
                await self._resume_store(work, place)
                raise
        return StepResult("The shop is stopped")

    async def restore_database(self, work: StepContext) -> StepResult:
        """All of it or nothing; when it is nothing, the shop goes on as it was."""
        place = self._locate_store(work)
        try:
            await self._tasks.run_task(work, place, "restore", env=_make_task_env(work))
        except PermanentError as error:
            await self._resume_store(work, place)
            raise _make_nothing_changed(error) from None
        await self._tasks.delete_job(place, make_job_name(work, "restore"))
        return StepResult("The database is as it was before the upgrade")

    async def _resume_store(self, work: StepContext, place: StoreLocation) -> None:
        await self._scale_web(work, place, 1)
        await self._readiness_waiter.wait_until_ready(
            work, place, readiness_wait.VERSION_CHANGE_MODE
        )

    async def _scale_web(self, work: StepContext, place: StoreLocation, replicas: int) -> None:
        await work.check_ownership()
        with effect("scale_web"):
            await self._client.patch(
                resource_kinds.DEPLOYMENT,
                "web",
                {"spec": {"replicas": replicas}},
                namespace=place.namespace,
            )

    # the other version ----------------------------------------------------------------------------------------------

    async def install_release(self, work: StepContext) -> StepResult:
        return await self._install_release(_with_version(work, _get_change(work).target))

    async def _install_release(self, work: StepContext, *, is_rollback: bool = False) -> StepResult:
        place = self._locate_store(work)
        image = await self._installer.read_database_image(place)
        outcome = await self._installer.install_release(
            work, database_image=image, is_rollback=is_rollback
        )
        web = await self._client.get(resource_kinds.DEPLOYMENT, "web", namespace=place.namespace)
        if (
            web is not None and web["spec"].get("replicas") == 0
        ):  # not every chart says how many it wants
            await self._scale_web(work, place, 1)
        return outcome

    async def wait_until_ready(self, work: StepContext) -> StepResult:
        return await self._readiness_waiter.wait_until_ready(
            _with_version(work, _get_change(work).target),
            self._locate_store(work),
            readiness_wait.VERSION_CHANGE_MODE,
        )

    async def verify_storefront(self, work: StepContext) -> StepResult:
        """Not tried for long: while it does not show its shop, there is none."""
        try:
            return await self._create_steps.verify_storefront(
                _with_version(work, _get_change(work).target), timeout_s=_STOREFRONT_TIMEOUT_S
            )
        except TransientError as error:
            raise PermanentError(error.code, error.detail, next_step=error.next_step) from None

    # the way back ---------------------------------------------------------------------------------------------------

    async def roll_back_release(self, work: StepContext) -> StepResult:
        await self._install_release(_with_version(work, _get_change(work).origin), is_rollback=True)
        return StepResult("The release is the one from before")

    async def wait_for_rollback(self, work: StepContext) -> StepResult:
        return await self._readiness_waiter.wait_until_ready(
            _with_version(work, _get_change(work).origin),
            self._locate_store(work),
            readiness_wait.ROLLBACK_MODE,
        )

    async def verify_rollback(self, work: StepContext) -> StepResult:
        """Tried again, unlike the new version: it is what there is, and may be slow."""
        return await self._create_steps.verify_storefront(
            _with_version(work, _get_change(work).origin)
        )

    def _locate_store(self, work: StepContext) -> StoreLocation:
        return locate_store(work.store, self._settings)


def _get_change(work: StepContext) -> VersionChange:
    assert work.change is not None  # noqa: S101 - these steps belong to upgrades and rollbacks alone
    return work.change


def _with_version(work: StepContext, version: str) -> StepContext:
    """The same work, on the store as it is to be."""
    return replace(work, store=work.store.model_copy(update={"engine_version": version}))


def _make_task_env(work: StepContext) -> dict[str, str]:
    """What every task is told: by which name the dump goes."""
    return {"STOREFLEET_DUMP": _get_change(work).dump}


def _make_nothing_changed(error: PermanentError) -> NothingChanged:
    if isinstance(error, NothingChanged):
        return error
    return NothingChanged(error.code, error.detail, next_step=error.next_step)


def _make_orders_lost_error(found: OrderCount, dump: DumpRecord) -> NothingChanged:
    listed = "; ".join(str(order) for order in found.orders)
    more = (
        f"; and {found.count - len(found.orders)} more"
        if found.count > len(found.orders) > 0
        else ""
    )
    return NothingChanged(
        "orders_would_go",
        f"{found.count} order(s) came in after the dump of {format_timestamp(dump.at)} and would be lost: {listed}{more}.",
        next_step="Repeat it with “discard_orders”: true to give them up, or roll back without restore to keep them.",
    )
