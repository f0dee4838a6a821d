"""The steps that create a store: namespace setup, Helm release, readiness wait, storefront check.

Each step converges: it reads the actual state and applies the difference, so it can be repeated.
"""

from storefleet.core.errors import PermanentError
from storefleet.core.models import Store
from storefleet.core.settings import Settings
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.client import KubernetesClient
from storefleet.runtimes.kubernetes.manifests import StoreLocation, locate_store
from storefleet.runtimes.kubernetes.namespace_setup import NamespaceSetup
from storefleet.runtimes.kubernetes.readiness.waiter import ReadinessWaiter
from storefleet.runtimes.kubernetes.releases.installer import ReleaseInstaller
from storefleet.runtimes.protocol import Address, StepContext, StepResult
from storefleet.runtimes.storefront_check import StorefrontCheck


class CreateSteps:
    """The steps of create operations, for all stores of a process."""

    def __init__(
        self,
        *,
        client: KubernetesClient,
        installer: ReleaseInstaller,
        readiness_waiter: ReadinessWaiter,
        storefront_check: StorefrontCheck,
        settings: Settings,
    ) -> None:
        self._client = client
        self._installer = installer
        self._readiness_waiter = readiness_waiter
        self._storefront_check = storefront_check
        self._settings = settings
        self._namespace_setup = NamespaceSetup(client=client, settings=settings)

    async def set_up_namespace(self, context: StepContext) -> StepResult:
        """Create the namespace with role bindings, policies, quotas and Secrets."""
        engine, location = (
            self._installer.get_engine(context.store),
            self._locate_store(context.store),
        )
        await self._namespace_setup.set_up(context, engine, location)
        return StepResult(f"Namespace {location.namespace}")

    async def install_release(self, context: StepContext) -> StepResult:
        """Install the Helm release."""
        return await self._installer.install_release(context)

    async def wait_until_ready(self, context: StepContext) -> StepResult:
        """Wait until the store's workloads are ready."""
        return await self._readiness_waiter.wait_until_ready(
            context, self._locate_store(context.store)
        )

    async def verify_storefront(
        self, context: StepContext, *, timeout_s: float | None = None
    ) -> StepResult:
        """Check storefront and admin over HTTP, at the store's Service inside the cluster.

        Args:
            context: The step's store and operation.
            timeout_s: Seconds for each page; by default those of the storefront check.

        Returns:
            A result with the store's addresses.

        Raises:
            PermanentError: The chart created no Service “web” with a cluster IP.
            TransientError: A page does not return its expected text in time.
        """
        engine, location = (
            self._installer.get_engine(context.store),
            self._locate_store(context.store),
        )
        service = await self._client.get(
            resource_kinds.SERVICE, "web", namespace=location.namespace
        )
        cluster_ip = str(((service or {}).get("spec") or {}).get("clusterIP") or "None")
        if cluster_ip == "None":
            raise PermanentError(
                "chart_invalid",
                "The chart created no Service “web” with a cluster IP.",
                next_step="Correct the engine's chart, then retry.",
            )
        host = f"[{cluster_ip}]" if ":" in cluster_ip else cluster_ip
        await self._storefront_check.wait_until_healthy(
            context,
            engine,
            server=f"http://{host}:80",
            host=location.authority,
            timeout_s=timeout_s,
        )
        address = Address(location.url, location.url.rstrip("/") + engine.admin.path)
        return StepResult("The storefront shows its products and the admin sign-in page", address)

    def _locate_store(self, store: Store) -> StoreLocation:
        return locate_store(store, self._settings)
