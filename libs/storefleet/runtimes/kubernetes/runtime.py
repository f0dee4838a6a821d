"""Stores on Kubernetes, behind the protocol that the services know."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from storefleet.core.errors import RuntimeAway
from storefleet.core.models import Credentials, Store
from storefleet.core.settings import Settings
from storefleet.engines.catalogue import Engines
from storefleet.observability import logs
from storefleet.runtimes.kubernetes import manifests
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.api_errors import Refused
from storefleet.runtimes.kubernetes.api.client import Cluster
from storefleet.runtimes.kubernetes.api.watcher import Watching
from storefleet.runtimes.kubernetes.create_steps import Creation
from storefleet.runtimes.kubernetes.delete_steps import Teardown
from storefleet.runtimes.kubernetes.manifests import place_of
from storefleet.runtimes.kubernetes.pod_logs import Lines, decoded
from storefleet.runtimes.kubernetes.readiness.readiness_wait import Starter
from storefleet.runtimes.kubernetes.releases.helm_process import Helm
from storefleet.runtimes.kubernetes.releases.installer import Installer
from storefleet.runtimes.kubernetes.tasks.task_jobs import Tasks
from storefleet.runtimes.kubernetes.usage import make_usage
from storefleet.runtimes.kubernetes.version_steps import Changing
from storefleet.runtimes.protocol import Change, RuntimeStep, Use
from storefleet.runtimes.storefront_check import Visitor

log = logs.get(__name__)

_CHECKED_FOR = 5.0


class KubernetesRuntime:
    """Makes, changes and removes stores in a cluster, a namespace each."""

    changes_versions = True

    def __init__(self, *, settings: Settings, engines: Engines) -> None:
        self._settings = settings
        self._cluster = Cluster(kubeconfig=settings.kubeconfig)
        self._helm = Helm(
            program=settings.helm,
            timeout=settings.helm_timeout,
            runs=settings.helm_runs,
            kubeconfig=settings.kubeconfig,
        )
        self._watching = Watching(self._cluster)
        self._visitor = Visitor(scheme=settings.store_scheme)
        self._lines = Lines(self._cluster)
        installer = Installer(
            cluster=self._cluster,
            helm=self._helm,
            watching=self._watching,
            engines=engines,
            settings=settings,
        )
        starter = Starter(cluster=self._cluster, watching=self._watching, lines=self._lines)
        self._creation = Creation(
            cluster=self._cluster,
            installer=installer,
            starter=starter,
            visitor=self._visitor,
            settings=settings,
        )
        self._changing = Changing(
            cluster=self._cluster,
            installer=installer,
            starter=starter,
            creation=self._creation,
            tasks=Tasks(cluster=self._cluster, watching=self._watching, lines=self._lines),
            settings=settings,
        )
        self._teardown = Teardown(
            cluster=self._cluster, visitor=self._visitor, engines=engines, settings=settings
        )
        self._checking = asyncio.Lock()
        self._checked = 0.0

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["KubernetesRuntime"]:
        async with AsyncExitStack() as stack:
            for part in (self._cluster, self._helm, self._visitor, self._watching):
                await stack.enter_async_context(part.opened())
            yield self

    async def check(self) -> None:
        """A good answer counts for a few seconds: probes ask more often than it changes."""
        async with self._checking:
            if time.monotonic() > self._checked + _CHECKED_FOR:
                await self._cluster.check()
                self._checked = time.monotonic()

    def create_steps(self, store: Store) -> Sequence[RuntimeStep]:
        del store
        return (
            RuntimeStep(
                "namespace",
                "Make the namespace with its limits, rules and secrets",
                self._creation.namespace,
            ),
            RuntimeStep("release", "Install the chart", self._creation.release),
            RuntimeStep("start", "Start the shop", self._creation.start),
            RuntimeStep("prove", "Visit the storefront and the admin", self._creation.prove),
        )

    def delete_steps(self, store: Store) -> Sequence[RuntimeStep]:
        del store
        return (
            RuntimeStep("namespace", "Remove the namespace", self._teardown.namespace),
            RuntimeStep("gone", "Wait until everything in it is gone", self._teardown.gone),
            RuntimeStep("prove", "Prove that nothing is left", self._teardown.prove),
        )

    def upgrade_steps(self, store: Store, change: Change) -> Sequence[RuntimeStep]:
        del store
        return (
            RuntimeStep("dump", "Dump the database", self._changing.dump),
            RuntimeStep("release", f"Install the chart of {change.target}", self._changing.release),
            RuntimeStep(
                "start", f"Start {change.target} beside {change.origin}", self._changing.start
            ),
            RuntimeStep("prove", "Visit the storefront and the admin", self._changing.prove),
        )

    def return_steps(self, store: Store, change: Change) -> Sequence[RuntimeStep]:
        del store
        return (
            RuntimeStep(
                "return-release",
                f"Install the chart of {change.origin} again",
                self._changing.return_release,
            ),
            RuntimeStep("return-start", f"Go back to {change.origin}", self._changing.return_start),
            RuntimeStep(
                "return-prove",
                "Visit the storefront and the admin again",
                self._changing.return_prove,
            ),
        )

    def rollback_steps(self, store: Store, change: Change) -> Sequence[RuntimeStep]:
        del store
        restoring = (
            RuntimeStep("orders", "Ask which orders would go", self._changing.orders),
            RuntimeStep("stop", "Stop the shop", self._changing.stop),
            RuntimeStep("restore", "Put the dump back", self._changing.restore),
        )
        return (
            *(restoring if change.restore else ()),
            RuntimeStep("release", f"Install the chart of {change.target}", self._changing.release),
            RuntimeStep("start", f"Start {change.target}", self._changing.start),
            RuntimeStep("prove", "Visit the storefront and the admin", self._changing.prove),
        )

    async def usage(self, store: Store) -> list[Use] | None:
        """None while there is nothing that is counted, or that we may read."""
        namespace = place_of(store, self._settings).namespace
        try:
            quotas = await self._cluster.every(resource_kinds.RESOURCE_QUOTA, namespace=namespace)
        except Refused as refused:  # without its namespace there is no role binding either
            log.warning("usage_refused", reason=refused.detail)
            return None
        return make_usage(quotas) or None

    async def credentials(self, store: Store) -> Credentials | None:
        if store.admin_url is None:
            return None
        try:
            secret = await self._cluster.get(
                resource_kinds.SECRET,
                manifests.ADMIN_SECRET,
                namespace=place_of(store, self._settings).namespace,
            )
        except Refused as refused:  # without its namespace there is no role binding either
            log.warning("credentials_refused", reason=refused.detail)
            raise RuntimeAway(
                "The cluster does not let the platform read this store's sign-in."
            ) from None
        data = (secret or {}).get("data") or {}
        if not {"username", "password"} <= data.keys():
            return None
        return Credentials(store.admin_url, decoded(data["username"]), decoded(data["password"]))

    async def logs(self, store: Store, *, tail: int) -> list[str]:
        return await self._lines.of_store(
            store.id, place_of(store, self._settings).namespace, tail=tail
        )
