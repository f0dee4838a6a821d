"""Makes a store: the ground, the Helm release, the wait for it, the proof; each step goes on from what is there."""

from storefleet.core.errors import PermanentError
from storefleet.core.settings import Settings
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.client import Cluster
from storefleet.runtimes.kubernetes.manifests import place_of
from storefleet.runtimes.kubernetes.namespace_setup import Ground
from storefleet.runtimes.kubernetes.readiness.readiness_wait import Starter
from storefleet.runtimes.kubernetes.releases.installer import Installer
from storefleet.runtimes.protocol import Address, Outcome, Work
from storefleet.runtimes.storefront_check import Visitor


class Creation:
    """The steps of one creation after the other, for all stores of a process."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        installer: Installer,
        starter: Starter,
        visitor: Visitor,
        settings: Settings,
    ) -> None:
        self._cluster = cluster
        self._installer = installer
        self._starter = starter
        self._visitor = visitor
        self._settings = settings
        self._ground = Ground(cluster=cluster, settings=settings)

    async def namespace(self, work: Work) -> Outcome:
        engine, place = self._installer.engine_of(work.store), place_of(work.store, self._settings)
        await self._ground.lay(work, engine, place)
        return Outcome(f"Namespace {place.namespace}")

    async def release(self, work: Work) -> Outcome:
        return await self._installer.install(work)

    async def start(self, work: Work) -> Outcome:
        return await self._starter.start(work, place_of(work.store, self._settings))

    async def prove(self, work: Work, *, patience: float | None = None) -> Outcome:
        """`patience` for each page, in seconds; the visitor's own without."""
        engine, place = self._installer.engine_of(work.store), place_of(work.store, self._settings)
        service = await self._cluster.get(resource_kinds.SERVICE, "web", namespace=place.namespace)
        address = str(((service or {}).get("spec") or {}).get("clusterIP") or "None")
        if address == "None":
            raise PermanentError(
                "chart_invalid",
                "The chart made no Service “web” with an address in the cluster.",
                next_step="Correct the engine's chart, then retry.",
            )
        server = f"http://[{address}]:80" if ":" in address else f"http://{address}:80"
        await self._visitor.prove(
            work, engine, server=server, host=place.authority, patience=patience
        )
        found = Address(place.url, place.url.rstrip("/") + engine.admin.path)
        return Outcome("The storefront shows its products, the admin sign-in answers", found)
