"""Read the plan and the resource usage of a store, for the API and the dashboard."""

from typing import Any

from storefleet.core.models import Store
from storefleet.engines.catalogue import EngineCatalogue
from storefleet.runtimes.protocol import Runtime


async def read_resource_usage(
    engines: EngineCatalogue, runtime: Runtime, store: Store
) -> dict[str, Any]:
    """Read a store's plan and the usage of its quota; `resources` is None without a quota."""
    engine = engines.find(store.engine)
    plan = engine.get_plan(store.plan) if engine else None
    usage = await runtime.read_usage(store) if store.state != "deleted" else None
    resources = [resource._asdict() for resource in usage] if usage is not None else None
    return {"plan": store.plan, "title": plan.title if plan else "", "resources": resources}
