"""The Kubernetes runtime: implements the runtime protocol with the steps of this package.

Wires client, watcher, Helm and steps together, and names the steps of each operation. The steps
themselves are in `create_steps`, `version_steps`, `database_steps` and `delete_steps`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from storefleet.core.errors import RuntimeUnavailable
from storefleet.core.models import AdminCredentials, Store
from storefleet.core.settings import Settings
from storefleet.engines.catalogue import EngineCatalogue
from storefleet.engines.descriptor import MAIL_KEY
from storefleet.observability import logs
from storefleet.runtimes.change_check import ChangeCheck
from storefleet.runtimes.kubernetes import manifests
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.api_errors import ApiRequestRejected
from storefleet.runtimes.kubernetes.api.client import KubernetesClient
from storefleet.runtimes.kubernetes.api.watcher import StoreWatcher
from storefleet.runtimes.kubernetes.create_steps import CreateSteps
from storefleet.runtimes.kubernetes.database_steps import DatabaseSteps
from storefleet.runtimes.kubernetes.delete_steps import DeleteSteps
from storefleet.runtimes.kubernetes.manifests import locate_store
from storefleet.runtimes.kubernetes.namespace_setup import NamespaceSetup
from storefleet.runtimes.kubernetes.pod_logs import PodLogs, decode_secret_value
from storefleet.runtimes.kubernetes.readiness.waiter import ReadinessWaiter
from storefleet.runtimes.kubernetes.releases.helm_process import HelmClient
from storefleet.runtimes.kubernetes.releases.installer import ReleaseInstaller
from storefleet.runtimes.kubernetes.rollback_steps import RollbackSteps
from storefleet.runtimes.kubernetes.tasks.task_jobs import TaskJobs
from storefleet.runtimes.kubernetes.usage import list_resource_usage
from storefleet.runtimes.kubernetes.version_steps import VersionSteps
from storefleet.runtimes.mail_outboxes import get_mail_path, make_missing_key_error
from storefleet.runtimes.protocol import MailOutbox, ResourceUsage, RuntimeStep, VersionChange
from storefleet.runtimes.storefront_check import StorefrontCheck

log = logs.get_logger(__name__)

_CHECK_TTL_S = 5.0
_VERIFY_TITLE = "Check the storefront and the admin"
_BASELINE_TITLE = "Look at the storefront and the admin before the change"
_COMPARE_TITLE = "Compare storefront and admin with before"


class KubernetesRuntime:
    """Creates, changes and deletes stores in a cluster, one namespace per store."""

    supports_version_changes = True

    def __init__(self, *, settings: Settings, engines: EngineCatalogue) -> None:
        self._settings = settings
        self._engines = engines
        self._client = client = KubernetesClient(kubeconfig=settings.kubeconfig)
        self._watcher = watcher = StoreWatcher(client)
        self._pod_logs = pod_logs = PodLogs(client)
        self._storefront_check = StorefrontCheck(scheme=settings.store_scheme)
        self._helm = HelmClient(
            executable=settings.helm,
            timeout_s=settings.helm_timeout,
            max_runs=settings.helm_runs,
            kubeconfig=settings.kubeconfig,
        )
        installer = ReleaseInstaller(
            client=client, helm=self._helm, watcher=watcher, engines=engines, settings=settings
        )
        waiter = ReadinessWaiter(client=client, watcher=watcher, pod_logs=pod_logs)
        namespace_setup = NamespaceSetup(client=client, settings=settings)
        self._create_steps = CreateSteps(
            client=client,
            installer=installer,
            readiness_waiter=waiter,
            storefront_check=self._storefront_check,
            namespace_setup=namespace_setup,
            settings=settings,
        )
        self._version_steps = VersionSteps(
            client=client,
            installer=installer,
            readiness_waiter=waiter,
            namespace_setup=namespace_setup,
            change_check=ChangeCheck(self._storefront_check),
            settings=settings,
        )
        self._rollback_steps = RollbackSteps(self._version_steps)
        self._database_steps = DatabaseSteps(
            client=client,
            installer=installer,
            readiness_waiter=waiter,
            task_jobs=TaskJobs(client=client, watcher=watcher, pod_logs=pod_logs),
            settings=settings,
        )
        self._delete_steps = DeleteSteps(
            client=client,
            storefront_check=self._storefront_check,
            engines=engines,
            settings=settings,
        )
        self._check_lock = asyncio.Lock()
        self._checked_at = 0.0

    @asynccontextmanager
    async def open_resources(self) -> AsyncIterator["KubernetesRuntime"]:
        """Hold connections, watches and Helm's home directories until exit."""
        async with AsyncExitStack() as stack:
            for part in (self._client, self._helm, self._storefront_check, self._watcher):
                await stack.enter_async_context(part.open_resources())
            yield self

    async def check_available(self) -> None:
        """Check that the API server is ready; a success is cached for five seconds.

        Raises:
            RuntimeUnavailable: It is not ready, or does not respond.
        """
        async with self._check_lock:
            if time.monotonic() > self._checked_at + _CHECK_TTL_S:
                await self._client.check_readiness()
                self._checked_at = time.monotonic()

    def create_steps(self, store: Store) -> Sequence[RuntimeStep]:
        """Return the steps that create a store: namespace, release, start, verify."""
        del store
        steps = self._create_steps
        return (
            RuntimeStep(
                "namespace",
                "Create the namespace with limits, policies and secrets",
                steps.set_up_namespace,
            ),
            RuntimeStep("release", "Install the chart", steps.install_release),
            RuntimeStep("start", "Start the store", steps.wait_until_ready),
            RuntimeStep("verify", _VERIFY_TITLE, steps.verify_storefront),
        )

    def delete_steps(self, store: Store) -> Sequence[RuntimeStep]:
        """Return the steps that delete a store: namespace, wait, verify."""
        del store
        steps = self._delete_steps
        return (
            RuntimeStep("namespace", "Delete the namespace", steps.delete_namespace),
            RuntimeStep("wait", "Wait until the namespace is deleted", steps.wait_until_deleted),
            RuntimeStep("verify", "Verify that nothing is left", steps.verify_deletion),
        )

    def upgrade_steps(self, store: Store, change: VersionChange) -> Sequence[RuntimeStep]:
        """Return the steps that upgrade a store: baseline, dump, release, start, verify."""
        del store
        steps = self._version_steps
        return (
            RuntimeStep("baseline", _BASELINE_TITLE, steps.read_baseline),
            RuntimeStep("dump", "Dump the database", self._database_steps.dump_database),
            RuntimeStep(
                "release", f"Install the chart of {change.to_version}", steps.install_release
            ),
            RuntimeStep(
                "start",
                f"Start {change.to_version} beside {change.from_version}",
                steps.wait_until_ready,
            ),
            RuntimeStep("verify", _COMPARE_TITLE, steps.verify_storefront),
        )

    def automatic_rollback_steps(
        self, store: Store, change: VersionChange
    ) -> Sequence[RuntimeStep]:
        """Return the steps that roll a failed upgrade back: the store keeps its data."""
        del store
        steps = self._version_steps
        return (
            RuntimeStep(
                "rollback-release",
                f"Install the chart of {change.from_version} again",
                steps.roll_back_release,
            ),
            RuntimeStep(
                "rollback-start", f"Roll back to {change.from_version}", steps.wait_for_rollback
            ),
            RuntimeStep(
                "rollback-verify",
                "Compare storefront and admin with before",
                steps.verify_rollback,
            ),
        )

    def rollback_steps(self, store: Store, change: VersionChange) -> Sequence[RuntimeStep]:
        """Return the steps of a requested rollback; on request it restores the dump first."""
        del store
        steps, database_steps = self._rollback_steps, self._database_steps
        restore_steps = (
            RuntimeStep(
                "orders", "Count the orders that would be lost", database_steps.count_orders
            ),
            RuntimeStep("stop", "Stop the store", database_steps.stop_store),
            RuntimeStep("restore", "Restore the dump", database_steps.restore_database),
        )
        return (
            RuntimeStep("baseline", _BASELINE_TITLE, self._version_steps.read_baseline),
            *(restore_steps if change.restore else ()),
            RuntimeStep(
                "release", f"Install the chart of {change.to_version}", steps.install_release
            ),
            RuntimeStep("start", f"Start {change.to_version}", steps.wait_until_ready),
            RuntimeStep("verify", _COMPARE_TITLE, steps.verify_storefront),
        )

    async def read_usage(self, store: Store) -> list[ResourceUsage] | None:
        """Read how much of its plan a store uses; None if it has no readable quota."""
        namespace = locate_store(store, self._settings).namespace
        try:
            quotas = await self._client.list_objects(
                resource_kinds.RESOURCE_QUOTA, namespace=namespace
            )
        except ApiRequestRejected as rejected:  # without the namespace there is no role binding
            log.warning("usage_read_rejected", reason=rejected.detail)
            return None
        return list_resource_usage(quotas) or None

    async def read_credentials(self, store: Store) -> AdminCredentials | None:
        """Read the admin credentials from the store's Secret; None if there is none.

        Raises:
            RuntimeUnavailable: The platform may not read the Secret, or the cluster is unavailable.
        """
        if store.admin_url is None:
            return None
        try:
            secret = await self._client.get(
                resource_kinds.SECRET,
                manifests.ADMIN_SECRET,
                namespace=locate_store(store, self._settings).namespace,
            )
        except ApiRequestRejected as rejected:  # without the namespace there is no role binding
            log.warning("credentials_read_rejected", reason=rejected.detail)
            raise RuntimeUnavailable(
                "The cluster denies the platform access to this store's admin credentials."
            ) from None
        data = (secret or {}).get("data") or {}
        if not {"username", "password"} <= data.keys():
            return None
        return AdminCredentials(
            store.admin_url,
            decode_secret_value(data["username"]),
            decode_secret_value(data["password"]),
        )

    async def find_mail_outbox(self, store: Store) -> MailOutbox:
        """Find the store's Service, and read the key from the Secret that holds nothing else.

        Raises:
            Conflict: The store keeps no mails, or has no key until its next upgrade.
            RuntimeUnavailable: The platform may not read the Secret, or the cluster is unavailable.
        """
        path = get_mail_path(store, self._engines.find(store.engine))
        location = locate_store(store, self._settings)
        try:
            secret = await self._client.get(
                resource_kinds.SECRET, manifests.MAIL_SECRET, namespace=location.namespace
            )
        except ApiRequestRejected as rejected:  # without the namespace there is no role binding
            log.warning("mail_key_read_rejected", reason=rejected.detail)
            raise RuntimeUnavailable(
                "The cluster denies the platform access to the key of this store's mail outbox."
            ) from None
        if not (key := ((secret or {}).get("data") or {}).get(MAIL_KEY)):
            raise make_missing_key_error(store, remedy="Its next upgrade or rollback adds it.")
        server = self._settings.store_service.replace("{namespace}", location.namespace)
        return MailOutbox(
            url=server + path,
            host=location.authority,
            scheme=self._settings.store_scheme,
            key=decode_secret_value(key),
        )

    async def read_logs(self, store: Store, *, tail: int) -> list[str]:
        """Read the last lines of a store's log, oldest first."""
        namespace = locate_store(store, self._settings).namespace
        return await self._pod_logs.read_store_log(store.id, namespace, tail_lines=tail)
