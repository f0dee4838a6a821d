"""View model of the plan and resource usage, with Kubernetes quantities in readable form."""

import re
from collections.abc import Mapping
from typing import Any

#: Readable names of the resources that a Kubernetes quota counts.
_RESOURCE_NAMES = {
    "requests.cpu": "Reserved CPU",
    "limits.cpu": "CPU limit",
    "requests.memory": "Reserved memory",
    "limits.memory": "Memory limit",
    "requests.storage": "Storage",
    "persistentvolumeclaims": "Volumes",
    "CPU requests": "Reserved CPU",
    "CPU limits": "CPU limit",
    "memory requests": "Reserved memory",
    "memory limits": "Memory limit",
}
_QUANTITY_PATTERN = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)(m|[KMGT]i)?")
_NEXT_LARGER_UNIT = {"Ki": "Mi", "Mi": "Gi", "Gi": "Ti"}


def make_resource_usage_view(
    resource_usage: Mapping[str, Any], *, problem: str | None = None
) -> dict[str, Any]:
    """Make the view of a plan and its usage; `problem` says why the usage is not available."""
    resources = [
        _make_resource_view(resource) for resource in resource_usage.get("resources") or ()
    ]
    return {
        "title": resource_usage.get("title", ""),
        "resources": resources,
        "problem": problem,
    }


def _make_resource_view(resource: Mapping[str, Any]) -> dict[str, Any]:
    title = _RESOURCE_NAMES.get(resource["name"], resource["name"])
    return {
        **resource,
        "used": format_quantity(resource["used"]),
        "hard": format_quantity(resource["hard"]),
        "title": title[:1].upper() + title[1:],
    }


def format_quantity(quantity: str) -> str:
    """Format a Kubernetes quantity for people: 1536Mi as 1.5 GiB, 200m as 0.2.

    A quantity in another notation is returned unchanged.
    """
    match = _QUANTITY_PATTERN.fullmatch(quantity)
    if match is None:
        return quantity
    number, unit = float(match[1]), match[2]
    if unit == "m":
        return f"{number / 1000:g}"
    while unit in _NEXT_LARGER_UNIT and number >= 1024:
        number, unit = number / 1024, _NEXT_LARGER_UNIT[unit]
    return f"{number:.3g} {unit}B" if unit else f"{number:g}"
