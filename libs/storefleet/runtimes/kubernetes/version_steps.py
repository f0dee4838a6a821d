"""Gives a store another version: upgrades, their way back, and rollbacks; each step goes on from what is there.

The version from before serves until the new one shows the shop, so every doubt is in favour of going back.
"""

from dataclasses import replace

from storefleet.core.errors import PermanentError, TransientError, Unchanged
from storefleet.core.models import timestamp
from storefleet.core.settings import Settings
from storefleet.observability.failpoints import effect
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.client import Cluster
from storefleet.runtimes.kubernetes.create_steps import Creation
from storefleet.runtimes.kubernetes.manifests import Place, place_of
from storefleet.runtimes.kubernetes.readiness import readiness_wait
from storefleet.runtimes.kubernetes.readiness.readiness_wait import Starter
from storefleet.runtimes.kubernetes.releases.installer import Installer
from storefleet.runtimes.kubernetes.tasks.dumps import Answered, Dump, Dumps, Orders
from storefleet.runtimes.kubernetes.tasks.task_jobs import Tasks, job_name
from storefleet.runtimes.protocol import Change, Outcome, Work

_PROOF = 45.0


class Changing:
    """The steps of one change after the other, for all stores of a process."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        installer: Installer,
        starter: Starter,
        creation: Creation,
        tasks: Tasks,
        settings: Settings,
    ) -> None:
        self._cluster = cluster
        self._installer = installer
        self._starter = starter
        self._creation = creation
        self._tasks = tasks
        self._dumps = Dumps(cluster)
        self._settings = settings

    # before anything changes ----------------------------------------------------------------------------------------

    async def dump(self, work: Work) -> Outcome:
        """Unchanged when it fails, or when there would be no way there or back: the store is as it was."""
        place, change = self._place(work), _change(work)
        try:
            for version in (change.target, change.origin):
                self._installer.engine_of(_at(work, version).store)
            answer = Answered("dump", await self._tasks.run(work, place, "dump", env=_told(work)))
            dump = answer.as_dump()
        except PermanentError as error:
            raise _unchanged(error) from None
        await work.check()
        await self._dumps.note(work.store, place, work.operation_id, dump)
        await self._tasks.remove(place, job_name(work, "dump"))
        return Outcome(f"The database is dumped ({max(1, round(dump.bytes / 1000)):,} kB)")

    async def orders(self, work: Work) -> Outcome:
        """Unchanged when orders would go, and nobody has said that they may."""
        try:
            self._installer.engine_of(_at(work, _change(work).target).store)
        except PermanentError as error:
            raise _unchanged(error) from None
        found = await self._orders(work, "orders")
        if not found.count:
            return Outcome("No order would go")
        return Outcome(f"{found.count} order(s) will go, as was asked for")

    async def _orders(self, work: Work, name: str) -> Orders:
        place, change = self._place(work), _change(work)
        try:
            dump = await self._dump_of(place, change)
            env = {**_told(work), "STOREFLEET_SINCE": str(timestamp(dump.at))}
            answer = Answered(
                "orders", await self._tasks.run(work, place, "orders", name=name, env=env)
            )
            found = answer.as_orders()
        except PermanentError as error:
            raise _unchanged(error) from None
        await self._tasks.remove(place, job_name(work, name))
        if found.count and not change.discard_orders:
            raise _orders_would_go(found, dump)
        return found

    async def _dump_of(self, place: Place, change: Change) -> Dump:
        dump = await self._dumps.find(place, change.dump)
        if dump is None:
            raise PermanentError(
                "dump_missing",
                "The dump that was made before this upgrade is not kept any more: of each store the newest three are.",
                next_step="Roll back without restore: it changes the version and keeps the data.",
            )
        return dump

    # the dump comes back --------------------------------------------------------------------------------------------

    async def stop(self, work: Work) -> Outcome:
        """From here on nobody orders; who did in the meantime is asked for once more."""
        place = self._place(work)
        await self._scale(work, place, 0)
        await self._starter.start(work, place, readiness_wait.STOP)
        if not _change(work).discard_orders:
            try:
                await self._orders(work, "recount")
            except Unchanged:
                await self._resume(work, place)
                raise
        return Outcome("The shop is stopped")

    async def restore(self, work: Work) -> Outcome:
        """All of it or nothing; when it is nothing, the shop goes on as it was."""
        place = self._place(work)
        try:
            await self._tasks.run(work, place, "restore", env=_told(work))
        except PermanentError as error:
            await self._resume(work, place)
            raise _unchanged(error) from None
        await self._tasks.remove(place, job_name(work, "restore"))
        return Outcome("The database is as it was before the upgrade")

    async def _resume(self, work: Work, place: Place) -> None:
        await self._scale(work, place, 1)
        await self._starter.start(work, place, readiness_wait.CHANGE)

    async def _scale(self, work: Work, place: Place, replicas: int) -> None:
        await work.check()
        with effect("scale_web"):
            await self._cluster.patch(
                resource_kinds.DEPLOYMENT,
                "web",
                {"spec": {"replicas": replicas}},
                namespace=place.namespace,
            )

    # the other version ----------------------------------------------------------------------------------------------

    async def release(self, work: Work) -> Outcome:
        return await self._release(_at(work, _change(work).target))

    async def _release(self, work: Work, *, abandons: bool = False) -> Outcome:
        place = self._place(work)
        image = await self._installer.database_image(place)
        outcome = await self._installer.install(work, database_image=image, abandons=abandons)
        web = await self._cluster.get(resource_kinds.DEPLOYMENT, "web", namespace=place.namespace)
        if (
            web is not None and web["spec"].get("replicas") == 0
        ):  # not every chart says how many it wants
            await self._scale(work, place, 1)
        return outcome

    async def start(self, work: Work) -> Outcome:
        return await self._starter.start(
            _at(work, _change(work).target), self._place(work), readiness_wait.CHANGE
        )

    async def prove(self, work: Work) -> Outcome:
        """Not tried for long: while it does not show its shop, there is none."""
        try:
            return await self._creation.prove(_at(work, _change(work).target), patience=_PROOF)
        except TransientError as error:
            raise PermanentError(error.code, error.detail, next_step=error.next_step) from None

    # the way back ---------------------------------------------------------------------------------------------------

    async def return_release(self, work: Work) -> Outcome:
        await self._release(_at(work, _change(work).origin), abandons=True)
        return Outcome("The release is the one from before")

    async def return_start(self, work: Work) -> Outcome:
        return await self._starter.start(
            _at(work, _change(work).origin), self._place(work), readiness_wait.RETURN
        )

    async def return_prove(self, work: Work) -> Outcome:
        """Tried again, unlike the new version: it is what there is, and may be slow."""
        return await self._creation.prove(_at(work, _change(work).origin))

    def _place(self, work: Work) -> Place:
        return place_of(work.store, self._settings)


def _change(work: Work) -> Change:
    assert work.change is not None  # noqa: S101 - these steps belong to upgrades and rollbacks alone
    return work.change


def _at(work: Work, version: str) -> Work:
    """The same work, on the store as it is to be."""
    return replace(work, store=work.store.model_copy(update={"engine_version": version}))


def _told(work: Work) -> dict[str, str]:
    """What every task is told: by which name the dump goes."""
    return {"STOREFLEET_DUMP": _change(work).dump}


def _unchanged(error: PermanentError) -> Unchanged:
    if isinstance(error, Unchanged):
        return error
    return Unchanged(error.code, error.detail, next_step=error.next_step)


def _orders_would_go(found: Orders, dump: Dump) -> Unchanged:
    listed = "; ".join(str(order) for order in found.orders)
    more = (
        f"; and {found.count - len(found.orders)} more"
        if found.count > len(found.orders) > 0
        else ""
    )
    return Unchanged(
        "orders_would_go",
        f"{found.count} order(s) came in after the dump of {timestamp(dump.at)} and would be lost: {listed}{more}.",
        next_step="Repeat it with “discard_orders”: true to give them up, or roll back without restore to keep them.",
    )
