"""Brings a store's chart in by Helm: the one of its version, with its plan's values, over whatever is there."""

import asyncio
import time

from storefleet.core.errors import PermanentError, RuntimeUnavailable, Wait
from storefleet.core.models import Store
from storefleet.core.settings import Settings
from storefleet.engines.catalogue import Engine, Engines
from storefleet.observability import logs
from storefleet.observability.failpoints import effect
from storefleet.runtimes.kubernetes import manifests
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.client import KubernetesClient
from storefleet.runtimes.kubernetes.api.watcher import StoreWatcher
from storefleet.runtimes.kubernetes.manifests import StoreLocation, locate_store
from storefleet.runtimes.kubernetes.releases import release_records
from storefleet.runtimes.kubernetes.releases.helm_process import HelmClient
from storefleet.runtimes.kubernetes.releases.stuck_resources import (
    StuckResources,
    find_stuck_resources,
)
from storefleet.runtimes.protocol import StepContext, StepResult

log = logs.get_logger(__name__)

_CLEANUP_TIMEOUT_S = 30.0
RETRIED_BY_ANNOTATION = "storefleet.dev/nudged-by"


class ReleaseInstaller:
    """Installs the release of a store, once per operation and content."""

    def __init__(
        self,
        *,
        client: KubernetesClient,
        helm: HelmClient,
        watcher: StoreWatcher,
        engines: Engines,
        settings: Settings,
    ) -> None:
        self._client = client
        self._helm = helm
        self._watcher = watcher
        self._engines = engines
        self._settings = settings

    async def install_release(
        self, work: StepContext, *, database_image: str = "", is_rollback: bool = False
    ) -> StepResult:
        """`abandons` is for going back: what is stuck is of the version that goes, and goes with it."""
        engine, place = self.get_engine(work.store), locate_store(work.store, self._settings)
        chart = engine.chart_of(work.store.engine_version)
        values = manifests.make_chart_values(
            work.store, engine, place, self._settings, database_image=database_image
        )
        content = await asyncio.to_thread(release_records.hash_release, chart, values)
        known = await release_records.list_records(self._client, place.namespace)
        if known and _is_installed(known[-1], content, work):
            return StepResult("The release is there already")
        await self._clean_up_stuck_resources(work, place, is_rollback=is_rollback)
        for record in known:
            if record.is_interrupted:
                await self._delete_interrupted_record(work, place, record)
        await work.check_ownership()
        with effect("helm_install"):
            await self._helm.install_release(
                chart=chart,
                namespace=place.namespace,
                values=values,
                labels={
                    release_records.CONTENT_LABEL: content,
                    release_records.OPERATION_LABEL: work.operation_id,
                },
            )
        return StepResult("The release is installed")

    def get_engine(self, store: Store) -> Engine:
        engine = self._engines.find(store.engine)
        if engine is None or engine.kubernetes is None or not engine.image(store.engine_version):
            raise PermanentError(
                "engine_unavailable",
                f"The engine {store.engine} {store.engine_version} does not run on the kubernetes runtime.",
                next_step="Choose another version, or delete the store and create it with another engine.",
            )
        return engine

    async def read_database_image(self, place: StoreLocation) -> str:
        """What the database runs from, and goes on to run from when the shop gets another version."""
        found = await self._client.get(
            resource_kinds.STATEFUL_SET, "database", namespace=place.namespace
        )
        containers = found["spec"]["template"]["spec"]["containers"] if found else ()
        return next((str(each["image"]) for each in containers if each["name"] == "database"), "")

    async def _delete_interrupted_record(
        self, work: StepContext, place: StoreLocation, record: release_records.ReleaseRecord
    ) -> None:
        """A run of Helm ended in the middle; only we may work on this store, so it was not somebody else's."""
        await work.report_progress(
            f"A run of Helm was interrupted ({record.status}); it is taken up again"
        )
        await work.check_ownership()
        with effect("free_release"):
            await self._client.delete(
                resource_kinds.SECRET, record.name, uid=record.uid, namespace=place.namespace
            )
        log.warning(
            "release_freed",
            namespace=place.namespace,
            status=record.status,
            revision=record.revision,
        )

    async def _clean_up_stuck_resources(
        self, work: StepContext, place: StoreLocation, *, is_rollback: bool
    ) -> None:
        """What an earlier attempt left stuck is taken away or woken, or a retry would wait for its next turn."""
        with self._watcher.subscribe(work.store.id) as follow:
            if not await follow.wait_until_current(_CLEANUP_TIMEOUT_S):
                raise follow.sync_error or RuntimeUnavailable(
                    "The cluster has not been looked at yet."
                )
            found = find_stuck_resources(follow.take_snapshot())
            found = StuckResources(found.jobs, (), ()) if is_rollback else found
            if not found:
                return
            await work.check_ownership()
            with effect("clear_stuck"):
                await self._delete_or_retry(work, place, found)
            gone = {job.uid for job in found.jobs} | {pod.uid for pod in found.pods}
            deadline = time.monotonic() + _CLEANUP_TIMEOUT_S
            while left := follow.take_snapshot().list_names(gone):
                if time.monotonic() > deadline:
                    raise Wait(f"Still there from the last attempt: {', '.join(left)}.")
                await work.report_progress(
                    f"Waiting for what the last attempt left to go: {', '.join(left)}"
                )
                await follow.wait_for_change(2)

    async def _delete_or_retry(
        self, work: StepContext, place: StoreLocation, stuck: StuckResources
    ) -> None:
        for job in stuck.jobs:
            await self._client.delete(
                resource_kinds.JOB, job.name, uid=job.uid, namespace=place.namespace
            )
        for pod in stuck.pods:
            await self._client.delete(
                resource_kinds.POD, pod.name, uid=pod.uid, namespace=place.namespace
            )
        change = {"metadata": {"annotations": {RETRIED_BY_ANNOTATION: work.operation_id}}}
        for workload in stuck.workloads:
            kind = next(
                kind for kind in resource_kinds.WORKLOAD_KINDS if kind.name == workload.kind
            )
            await self._client.patch(kind, workload.name, change, namespace=place.namespace)


def _is_installed(last: release_records.ReleaseRecord, content: str, work: StepContext) -> bool:
    """Done by this very operation; a retry installs again, which repairs what was changed by hand since."""
    return (
        last.status == "deployed"
        and last.content_hash == content
        and last.operation_id == work.operation_id
    )
