"""Install a store's Helm release: the chart of its version with the values of its plan.

A release is installed at most once per operation and content. Before installing, resources that a
failed attempt left stuck are cleaned up, and records of interrupted Helm runs are deleted.
"""

import asyncio
import time
from pathlib import Path
from typing import Any, NamedTuple

from storefleet.core.errors import PermanentError, RuntimeUnavailable, Wait
from storefleet.core.models import Store
from storefleet.core.settings import Settings
from storefleet.engines.catalogue import EngineCatalogue
from storefleet.engines.descriptor import Engine
from storefleet.observability import logs
from storefleet.observability.failpoints import effect
from storefleet.runtimes.kubernetes import manifests
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.client import KubernetesClient
from storefleet.runtimes.kubernetes.api.watcher import StoreWatcher
from storefleet.runtimes.kubernetes.manifests import StoreLocation, locate_store
from storefleet.runtimes.kubernetes.releases.helm_process import HelmClient
from storefleet.runtimes.kubernetes.releases.release_records import (
    CONTENT_LABEL,
    OPERATION_LABEL,
    ReleaseRecord,
    hash_release,
    list_records,
)
from storefleet.runtimes.kubernetes.releases.stuck_resources import (
    StuckResources,
    find_stuck_resources,
)
from storefleet.runtimes.protocol import StepContext, StepResult

log = logs.get_logger(__name__)

RETRIED_BY_ANNOTATION = "storefleet.dev/retried-by"
_CLEANUP_TIMEOUT_S = 30.0


class _Release(NamedTuple):
    chart: Path
    values: dict[str, Any]
    content_hash: str


class ReleaseInstaller:
    """Installs the Helm releases of stores."""

    def __init__(
        self,
        *,
        client: KubernetesClient,
        helm: HelmClient,
        watcher: StoreWatcher,
        engines: EngineCatalogue,
        settings: Settings,
    ) -> None:
        self._client = client
        self._helm = helm
        self._watcher = watcher
        self._engines = engines
        self._settings = settings

    async def install_release(
        self, context: StepContext, *, database_image: str = "", is_rollback: bool = False
    ) -> StepResult:
        """Install the release of the store's version, unless this operation has done so already.

        Args:
            context: The step's store, with the version to install.
            database_image: Image that the database keeps; empty for the image of the version.
            is_rollback: Whether the release restores the previous version. Stuck pods and
                workloads are then left alone: they belong to the version that Helm is about to
                remove.

        Raises:
            PermanentError: The engine does not run here, or see `map_helm_error`.
            Wait: Stuck resources of the last attempt are still terminating.
        """
        location = self._locate_store(context.store)
        release = await self._make_release(context, database_image)
        records = await list_records(self._client, location.namespace)
        if records and _is_installed(records[-1], release.content_hash, context):
            return StepResult("The release is already installed")
        await self._clean_up_stuck_resources(context, location, is_rollback=is_rollback)
        for record in records:
            if record.is_interrupted:
                await self._delete_interrupted_record(context, location, record)
        await context.check_ownership()
        with effect("helm_install"):
            await self._helm.install_release(
                chart=release.chart,
                namespace=location.namespace,
                values=release.values,
                labels={CONTENT_LABEL: release.content_hash, OPERATION_LABEL: context.operation_id},
            )
        return StepResult("The release is installed")

    async def has_begun_installation(self, context: StepContext, *, database_image: str) -> bool:
        """Return whether this operation has installed the store's version last, or begun to.

        Args:
            context: The step's store, with the version.
            database_image: Image that the database keeps.
        """
        release = await self._make_release(context, database_image)
        location = self._locate_store(context.store)
        records = await list_records(self._client, location.namespace)
        return bool(records) and _is_record_of(records[-1], release.content_hash, context)

    async def _make_release(self, context: StepContext, database_image: str) -> _Release:
        """Make chart and values of the store's version, and their hash."""
        engine, location = self.get_engine(context.store), self._locate_store(context.store)
        chart = engine.get_chart_path(context.store.engine_version)
        values = manifests.make_chart_values(
            context.store,
            engine,
            location,
            self._settings,
            database_image=database_image,
            setup_mode="update" if context.change else "install",
        )
        if not await asyncio.to_thread(manifests.accepts_setup_mode, chart):
            del values["setupMode"]
        return _Release(chart, values, await asyncio.to_thread(hash_release, chart, values))

    def find_engine(self, store: Store) -> Engine | None:
        """Find the engine of a store, whether or not its version can be installed."""
        return self._engines.find(store.engine)

    def get_engine(self, store: Store) -> Engine:
        """Return the engine of a store.

        Raises:
            PermanentError: The engine, or the store's version of it, does not run on Kubernetes.
        """
        engine = self._engines.find(store.engine)
        if (
            engine is None
            or engine.kubernetes is None
            or not engine.get_image(store.engine_version)
        ):
            raise PermanentError(
                "engine_unavailable",
                f"The engine {store.engine} {store.engine_version} does not run on the kubernetes"
                " runtime: it has no image or no chart.",
                next_step="Choose another version, or delete the store and create it with another"
                " engine.",
            )
        return engine

    async def read_database_image(self, location: StoreLocation) -> str:
        """Return the image of the running database, which upgrades keep; empty without one."""
        database = await self._client.get(
            resource_kinds.STATEFUL_SET, "database", namespace=location.namespace
        )
        containers = database["spec"]["template"]["spec"]["containers"] if database else ()
        return next((str(each["image"]) for each in containers if each["name"] == "database"), "")

    async def _delete_interrupted_record(
        self, context: StepContext, location: StoreLocation, record: ReleaseRecord
    ) -> None:
        """Delete the record of an interrupted Helm run; the lease excludes that it still runs."""
        await context.report_progress(
            f"Retrying: the last run of Helm was interrupted ({record.status})"
        )
        await context.check_ownership()
        with effect("delete_release_record"):
            await self._client.delete(
                resource_kinds.SECRET, record.name, uid=record.uid, namespace=location.namespace
            )
        log.warning(
            "release_record_deleted",
            namespace=location.namespace,
            status=record.status,
            revision=record.revision,
        )

    async def _clean_up_stuck_resources(
        self, context: StepContext, location: StoreLocation, *, is_rollback: bool
    ) -> None:
        """Delete or wake what the last attempt left stuck; else the retry waits out its backoff."""
        with self._watcher.subscribe(context.store.id) as subscription:
            if not await subscription.wait_until_current(_CLEANUP_TIMEOUT_S):
                raise subscription.sync_error or RuntimeUnavailable(
                    "The objects of the cluster have not been listed yet."
                )
            stuck = find_stuck_resources(subscription.take_snapshot())
            if is_rollback:
                stuck = StuckResources(stuck.jobs, (), ())
            if not stuck:
                return
            await context.check_ownership()
            with effect("delete_stuck"):
                await self._delete_or_retry(context, location, stuck)
            deleted = {job.uid for job in stuck.jobs} | {pod.uid for pod in stuck.pods}
            deadline = time.monotonic() + _CLEANUP_TIMEOUT_S
            while left := subscription.take_snapshot().list_names(deleted):
                names = ", ".join(left)
                if time.monotonic() > deadline:
                    raise Wait(f"Objects of the last attempt are still terminating: {names}.")
                await context.report_progress(
                    f"Waiting for the deletion of objects of the last attempt: {names}"
                )
                await subscription.wait_for_change(2)

    async def _delete_or_retry(
        self, context: StepContext, location: StoreLocation, stuck: StuckResources
    ) -> None:
        namespace = location.namespace
        for job in stuck.jobs:
            await self._client.delete(
                resource_kinds.JOB, job.name, uid=job.uid, namespace=namespace
            )
        for pod in stuck.pods:
            await self._client.delete(
                resource_kinds.POD, pod.name, uid=pod.uid, namespace=namespace
            )
        change = {"metadata": {"annotations": {RETRIED_BY_ANNOTATION: context.operation_id}}}
        for workload in stuck.workloads:
            kind = next(
                kind for kind in resource_kinds.WORKLOAD_KINDS if kind.name == workload.kind
            )
            await self._client.patch(kind, workload.name, change, namespace=namespace)

    def _locate_store(self, store: Store) -> StoreLocation:
        return locate_store(store, self._settings)


def _is_installed(record: ReleaseRecord, content_hash: str, context: StepContext) -> bool:
    """Return whether this very operation has installed this content.

    A new operation installs again, which repairs manual changes made since.
    """
    return record.status == "deployed" and _is_record_of(record, content_hash, context)


def _is_record_of(record: ReleaseRecord, content_hash: str, context: StepContext) -> bool:
    return record.content_hash == content_hash and record.operation_id == context.operation_id
