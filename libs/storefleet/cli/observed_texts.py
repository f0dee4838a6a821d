"""Format what the platform has observed of a store, as the API returns it."""

from collections.abc import Mapping
from typing import Any

from storefleet.cli.formatting import format_age
from storefleet.core.observed import CRON_TEXTS, STOREFRONT_TEXTS, ObservedText


def format_storefront(store: Mapping[str, Any], *, with_time: bool = False) -> str:
    """Format the class of a store's storefront in words.

    Args:
        store: The store as the API returned it; an older gateway sends no `observed`.
        with_time: Whether to add the age of the check.

    Returns:
        The label; the class itself if this release does not know it; empty if it is unknown.
    """
    observed = store.get("observed") or {}
    name = str(observed.get("storefront") or "unknown")
    if name == "unknown":
        return ""
    label = STOREFRONT_TEXTS[name].label if name in STOREFRONT_TEXTS else name
    age = format_age(observed.get("checked_at"))
    return f"{label} (checked {age} ago)" if with_time and age != "-" else label


def format_cron(store: Mapping[str, Any]) -> str:
    """Format the state of a store's cron calls in words; empty if there are none."""
    name = str((store.get("observed") or {}).get("cron") or "none")
    if name == "none":
        return ""
    return CRON_TEXTS[name].label if name in CRON_TEXTS else name


def find_problem(store: Mapping[str, Any]) -> ObservedText | None:
    """Find what the owner should know: the storefront first, then the cron calls."""
    observed = store.get("observed") or {}
    for texts, name in (
        (STOREFRONT_TEXTS, observed.get("storefront")),
        (CRON_TEXTS, observed.get("cron")),
    ):
        text = texts.get(str(name))
        if text is not None and text.meaning:
            return text
    return None
