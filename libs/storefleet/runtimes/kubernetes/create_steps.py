"""The steps that create a store: namespace setup, Helm release, readiness wait, storefront check.

Each step converges: it reads the actual state and applies the difference, so it can be repeated.
"""

from storefleet.core.errors import PermanentError
from storefleet.core.models import Store
from storefleet.core.settings import Settings
from storefleet.engines.descriptor import Engine
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
        namespace_setup: NamespaceSetup,
        settings: Settings,
    ) -> None:
        self._client = client
        self._installer = installer
        self._readiness_waiter = readiness_waiter
        self._storefront_check = storefront_check
        self._settings = settings
        self._namespace_setup = namespace_setup

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

    async def verify_storefront(self, context: StepContext) -> StepResult:
        """Check a new store over HTTP, at its Service inside the cluster.

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
        server = await find_server(self._client, location)
        if not server:
            raise make_no_service_error()
        await self._storefront_check.wait_until_healthy(
            context, engine, server=server, host=location.authority
        )
        return StepResult(
            "The storefront shows its products and the admin sign-in page",
            make_address(engine, location),
        )

    def _locate_store(self, store: Store) -> StoreLocation:
        return locate_store(store, self._settings)


async def find_server(client: KubernetesClient, location: StoreLocation) -> str:
    """Find where to request a store's pages: its Service “web”; empty if it has no address."""
    service = await client.get(resource_kinds.SERVICE, "web", namespace=location.namespace)
    cluster_ip = str(((service or {}).get("spec") or {}).get("clusterIP") or "None")
    if cluster_ip == "None":
        return ""
    return f"http://[{cluster_ip}]:80" if ":" in cluster_ip else f"http://{cluster_ip}:80"


def make_no_service_error() -> PermanentError:
    """Make the error of a chart without a Service that can be checked."""
    return PermanentError(
        "chart_invalid",
        "The chart created no Service “web” with a cluster IP.",
        next_step="Correct the engine's chart, then retry.",
    )


def make_address(engine: Engine, location: StoreLocation) -> Address:
    """Make the URLs of a store's storefront and admin."""
    return Address(location.url, location.url.rstrip("/") + engine.admin.path)
