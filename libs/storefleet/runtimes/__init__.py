"""Runtimes: where stores run, behind one protocol.

`protocol` is what the services use; `kubernetes`, `local` and `simulated` implement it.
"""

from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.engines.catalogue import EngineCatalogue
from storefleet.runtimes.protocol import Runtime


def create_runtime(settings: Settings, *, database: Database, engines: EngineCatalogue) -> Runtime:
    """Create the runtime that the settings name.

    Only that runtime's modules are imported: the Kubernetes client alone takes longer to import
    than a service to start.

    Args:
        settings: `runtime` is `kubernetes`, `local` or `simulated`.
        database: The platform's database; the local runtime keeps its placements there.
        engines: The engine catalogue.
    """
    if settings.runtime == "simulated":
        from storefleet.runtimes.simulated import SimulatedRuntime

        return SimulatedRuntime(settings=settings, engines=engines)
    if settings.runtime == "kubernetes":
        from storefleet.runtimes.kubernetes.runtime import KubernetesRuntime

        return KubernetesRuntime(settings=settings, engines=engines)
    from storefleet.runtimes.local.runtime import LocalRuntime

    return LocalRuntime(settings=settings, database=database, engines=engines)
