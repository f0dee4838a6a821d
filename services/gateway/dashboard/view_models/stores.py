"""View models of stores and their events."""

from typing import Any

from services.gateway.dashboard.event_texts import describe_event, is_cancellation
from services.gateway.dashboard.view_models.operations import make_operation_view
from storefleet.core.models import Event, Operation, Store, format_timestamp
from storefleet.core.observed import (
    CRON_TEXTS,
    STOREFRONT_TEXTS,
    CronState,
    ObservedText,
    StorefrontClass,
)
from storefleet.engines.descriptor import Engine


def make_store_view(
    store: Store, operation: Operation | None, engine: Engine | None
) -> dict[str, Any]:
    """Make a row of the store list, with the latest operation of the store."""
    return {
        **store.to_json(),
        "engine_title": get_engine_title(store, engine),
        "operation": make_operation_view(operation),
        "notices": make_notices(store),
    }


def make_notices(store: Store) -> list[dict[str, str]]:
    """Make what the owner should know about the storefront and the cron calls; often nothing."""
    cron = CRON_TEXTS.get(store.cron)
    if store.storefront == StorefrontClass.DOWN and store.cron == CronState.FAILING:
        cron = None  # the same cause, told once
    if cron is not None:
        cron = cron._replace(label=f"Scheduled tasks: {cron.label[0].lower()}{cron.label[1:]}")
    found: list[tuple[str, str, ObservedText | None]] = [
        ("storefront", store.storefront, STOREFRONT_TEXTS.get(store.storefront)),
        ("cron", store.cron, cron),
    ]
    return [
        {
            "about": about,
            "value": value,
            "title": text.label,
            "meaning": text.meaning,
            "next": text.next_step,
        }
        for about, value, text in found
        if text is not None and text.meaning
    ]


def make_observed_view(store: Store) -> dict[str, Any]:
    """Make the labels of what was observed, None for what is unknown, and the notices."""
    storefront, cron = STOREFRONT_TEXTS.get(store.storefront), CRON_TEXTS.get(store.cron)
    return {
        "storefront_label": storefront.label if storefront else None,
        "cron_label": cron.label if cron else None,
        "notices": make_notices(store),
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
