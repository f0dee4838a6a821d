"""Makes a store: the ground, the Helm release, the wait for it, the proof; each step goes on from what is there."""

from storefleet.core.errors import PermanentError
from storefleet.core.settings import Settings
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.client import KubernetesClient
from storefleet.runtimes.kubernetes.manifests import locate_store
from storefleet.runtimes.kubernetes.namespace_setup import NamespaceSetup
from storefleet.runtimes.kubernetes.readiness.readiness_wait import ReadinessWaiter
from storefleet.runtimes.kubernetes.releases.installer import ReleaseInstaller
from storefleet.runtimes.protocol import Address, StepContext, StepResult
from storefleet.runtimes.storefront_check import Visitor


class CreateSteps:
    """The steps of one creation after the other, for all stores of a process."""

    def __init__(
        self,
        *,
        client: KubernetesClient,
        installer: ReleaseInstaller,
        readiness_waiter: ReadinessWaiter,
        storefront_check: Visitor,
        settings: Settings,
    ) -> None:
        self._client = client
        self._installer = installer
        self._readiness_waiter = readiness_waiter
        self._storefront_check = storefront_check
        self._settings = settings
        self._namespace_setup = NamespaceSetup(client=client, settings=settings)

    async def set_up_namespace(self, work: StepContext) -> StepResult:
        engine, place = (
            self._installer.get_engine(work.store),
            locate_store(work.store, self._settings),
        )
        await self._namespace_setup.set_up(work, engine, place)
        return StepResult(f"Namespace {place.namespace}")

    async def install_release(self, work: StepContext) -> StepResult:
        return await self._installer.install_release(work)

    async def wait_until_ready(self, work: StepContext) -> StepResult:
        return await self._readiness_waiter.wait_until_ready(
            work, locate_store(work.store, self._settings)
        )

    async def verify_storefront(
        self, work: StepContext, *, timeout_s: float | None = None
    ) -> StepResult:
        """`patience` for each page, in seconds; the visitor's own without."""
        engine, place = (
            self._installer.get_engine(work.store),
            locate_store(work.store, self._settings),
        )
        service = await self._client.get(resource_kinds.SERVICE, "web", namespace=place.namespace)
        address = str(((service or {}).get("spec") or {}).get("clusterIP") or "None")
        if address == "None":
            raise PermanentError(
                "chart_invalid",
                "The chart made no Service “web” with an address in the cluster.",
                next_step="Correct the engine's chart, then retry.",
            )
        server = f"http://[{address}]:80" if ":" in address else f"http://{address}:80"
        await self._storefront_check.prove(
            work, engine, server=server, host=place.authority, patience=timeout_s
        )
        found = Address(place.url, place.url.rstrip("/") + engine.admin.path)
        return StepResult("The storefront shows its products, the admin sign-in answers", found)
