"""Places where stores run: a small protocol and its implementations."""

from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.engines.catalogue import EngineCatalogue
from storefleet.runtimes.protocol import Runtime


def create_runtime(settings: Settings, *, database: Database, engines: EngineCatalogue) -> Runtime:
    """The runtime that the settings name; its libraries are imported only now."""
    if settings.runtime == "simulated":
        from storefleet.runtimes.simulated import SimulatedRuntime

        return SimulatedRuntime(settings=settings, engines=engines)
    if settings.runtime == "kubernetes":
        from storefleet.runtimes.kubernetes.runtime import KubernetesRuntime

        return KubernetesRuntime(settings=settings, engines=engines)
    from storefleet.runtimes.local.runtime import LocalRuntime

    return LocalRuntime(settings=settings, database=database, engines=engines)
