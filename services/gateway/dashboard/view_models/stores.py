"""View models of stores and their events."""

from typing import Any

from services.gateway.dashboard.event_texts import describe_event, is_cancellation
from services.gateway.dashboard.view_models.operations import make_operation_view
from storefleet.core.models import Event, Operation, Store, format_timestamp
from storefleet.engines.descriptor import Engine


def make_store_view(
    store: Store, operation: Operation | None, engine: Engine | None
) -> dict[str, Any]:
    """Make a row of the store list, with the latest operation of the store."""
    return {
        **store.to_json(),
        "engine_title": get_engine_title(store, engine),
        "operation": make_operation_view(operation),
    }


def get_engine_title(store: Store, engine: Engine | None) -> str:
    """Return the title of the engine, or its name if the catalogue no longer contains it."""
    return engine.title if engine else store.engine


def make_event_view(event: Event) -> dict[str, Any]:
    """Make an entry of the activity list."""
    return {
        "seq": event.seq,
        "type": event.type,
        "time": format_timestamp(event.time),
        "data": event.data,
        "summary": describe_event(event),
        "is_cancelled": is_cancellation(event),
    }
