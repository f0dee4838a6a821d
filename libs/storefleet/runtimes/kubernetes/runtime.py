"""Stores on Kubernetes, behind the protocol that the services know."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from storefleet.core.errors import RuntimeUnavailable
from storefleet.core.models import AdminCredentials, Store
from storefleet.core.settings import Settings
from storefleet.engines.catalogue import Engines
from storefleet.observability import logs
from storefleet.runtimes.kubernetes import manifests
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.api_errors import ApiRequestRejected
from storefleet.runtimes.kubernetes.api.client import KubernetesClient
from storefleet.runtimes.kubernetes.api.watcher import StoreWatcher
from storefleet.runtimes.kubernetes.create_steps import CreateSteps
from storefleet.runtimes.kubernetes.delete_steps import DeleteSteps
from storefleet.runtimes.kubernetes.manifests import locate_store
from storefleet.runtimes.kubernetes.pod_logs import PodLogs, decode_secret_value
from storefleet.runtimes.kubernetes.readiness.readiness_wait import ReadinessWaiter
from storefleet.runtimes.kubernetes.releases.helm_process import HelmClient
from storefleet.runtimes.kubernetes.releases.installer import ReleaseInstaller
from storefleet.runtimes.kubernetes.tasks.task_jobs import TaskJobs
from storefleet.runtimes.kubernetes.usage import list_resource_usage
from storefleet.runtimes.kubernetes.version_steps import VersionSteps
from storefleet.runtimes.protocol import ResourceUsage, RuntimeStep, VersionChange
from storefleet.runtimes.storefront_check import Visitor

log = logs.get_logger(__name__)

_CHECK_TTL_S = 5.0


class KubernetesRuntime:
    """Makes, changes and removes stores in a cluster, a namespace each."""

    changes_versions = True

    def __init__(self, *, settings: Settings, engines: Engines) -> None:
        self._settings = settings
        self._client = KubernetesClient(kubeconfig=settings.kubeconfig)
        self._helm = HelmClient(
            executable=settings.helm,
            timeout_s=settings.helm_timeout,
            max_runs=settings.helm_runs,
            kubeconfig=settings.kubeconfig,
        )
        self._watcher = StoreWatcher(self._client)
        self._storefront_check = Visitor(scheme=settings.store_scheme)
        self._pod_logs = PodLogs(self._client)
        installer = ReleaseInstaller(
            client=self._client,
            helm=self._helm,
            watcher=self._watcher,
            engines=engines,
            settings=settings,
        )
        starter = ReadinessWaiter(
            client=self._client, watcher=self._watcher, pod_logs=self._pod_logs
        )
        self._create_steps = CreateSteps(
            client=self._client,
            installer=installer,
            readiness_waiter=starter,
            storefront_check=self._storefront_check,
            settings=settings,
        )
        self._version_steps = VersionSteps(
            client=self._client,
            installer=installer,
            readiness_waiter=starter,
            create_steps=self._create_steps,
            tasks=TaskJobs(client=self._client, watcher=self._watcher, pod_logs=self._pod_logs),
            settings=settings,
        )
        self._delete_steps = DeleteSteps(
            client=self._client,
            storefront_check=self._storefront_check,
            engines=engines,
            settings=settings,
        )
        self._check_lock = asyncio.Lock()
        self._checked_at = 0.0

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["KubernetesRuntime"]:
        async with AsyncExitStack() as stack:
            for part in (self._client, self._helm, self._storefront_check, self._watcher):
                await stack.enter_async_context(part.opened())
            yield self

    async def check(self) -> None:
        """A good answer counts for a few seconds: probes ask more often than it changes."""
        async with self._check_lock:
            if time.monotonic() > self._checked_at + _CHECK_TTL_S:
                await self._client.check_readiness()
                self._checked_at = time.monotonic()

    def create_steps(self, store: Store) -> Sequence[RuntimeStep]:
        del store
        return (
            RuntimeStep(
                "namespace",
                "Make the namespace with its limits, rules and secrets",
                self._create_steps.set_up_namespace,
            ),
            RuntimeStep("release", "Install the chart", self._create_steps.install_release),
            RuntimeStep("start", "Start the shop", self._create_steps.wait_until_ready),
            RuntimeStep(
                "verify", "Visit the storefront and the admin", self._create_steps.verify_storefront
            ),
        )

    def delete_steps(self, store: Store) -> Sequence[RuntimeStep]:
        del store
        return (
            RuntimeStep("namespace", "Remove the namespace", self._delete_steps.delete_namespace),
            RuntimeStep(
                "gone", "Wait until everything in it is gone", self._delete_steps.wait_until_deleted
            ),
            RuntimeStep("verify", "Prove that nothing is left", self._delete_steps.verify_deletion),
        )

    def upgrade_steps(self, store: Store, change: VersionChange) -> Sequence[RuntimeStep]:
        del store
        return (
            RuntimeStep("dump", "Dump the database", self._version_steps.dump_database),
            RuntimeStep(
                "release",
                f"Install the chart of {change.target}",
                self._version_steps.install_release,
            ),
            RuntimeStep(
                "start",
                f"Start {change.target} beside {change.origin}",
                self._version_steps.wait_until_ready,
            ),
            RuntimeStep(
                "verify",
                "Visit the storefront and the admin",
                self._version_steps.verify_storefront,
            ),
        )

    def automatic_rollback_steps(
        self, store: Store, change: VersionChange
    ) -> Sequence[RuntimeStep]:
        del store
        return (
            RuntimeStep(
                "rollback-release",
                f"Install the chart of {change.origin} again",
                self._version_steps.roll_back_release,
            ),
            RuntimeStep(
                "rollback-start",
                f"Go back to {change.origin}",
                self._version_steps.wait_for_rollback,
            ),
            RuntimeStep(
                "rollback-verify",
                "Visit the storefront and the admin again",
                self._version_steps.verify_rollback,
            ),
        )

    def rollback_steps(self, store: Store, change: VersionChange) -> Sequence[RuntimeStep]:
        del store
        restoring = (
            RuntimeStep("orders", "Ask which orders would go", self._version_steps.count_orders),
            RuntimeStep("stop", "Stop the shop", self._version_steps.stop_store),
            RuntimeStep("restore", "Put the dump back", self._version_steps.restore_database),
        )
        return (
            *(restoring if change.restore else ()),
            RuntimeStep(
                "release",
                f"Install the chart of {change.target}",
                self._version_steps.install_release,
            ),
            RuntimeStep("start", f"Start {change.target}", self._version_steps.wait_until_ready),
            RuntimeStep(
                "verify",
                "Visit the storefront and the admin",
                self._version_steps.verify_storefront,
            ),
        )

    async def usage(self, store: Store) -> list[ResourceUsage] | None:
        """None while there is nothing that is counted, or that we may read."""
        namespace = locate_store(store, self._settings).namespace
        try:
            quotas = await self._client.list_objects(
                resource_kinds.RESOURCE_QUOTA, namespace=namespace
            )
        except (
            ApiRequestRejected
        ) as refused:  # without its namespace there is no role binding either
            log.warning("usage_refused", reason=refused.detail)
            return None
        return list_resource_usage(quotas) or None

    async def credentials(self, store: Store) -> AdminCredentials | None:
        if store.admin_url is None:
            return None
        try:
            secret = await self._client.get(
                resource_kinds.SECRET,
                manifests.ADMIN_SECRET,
                namespace=locate_store(store, self._settings).namespace,
            )
        except (
            ApiRequestRejected
        ) as refused:  # without its namespace there is no role binding either
            log.warning("credentials_refused", reason=refused.detail)
            raise RuntimeUnavailable(
                "The cluster does not let the platform read this store's sign-in."
            ) from None
        data = (secret or {}).get("data") or {}
        if not {"username", "password"} <= data.keys():
            return None
        return AdminCredentials(
            store.admin_url,
            decode_secret_value(data["username"]),
            decode_secret_value(data["password"]),
        )

    async def logs(self, store: Store, *, tail: int) -> list[str]:
        return await self._pod_logs.read_store_log(
            store.id, locate_store(store, self._settings).namespace, tail_lines=tail
        )
