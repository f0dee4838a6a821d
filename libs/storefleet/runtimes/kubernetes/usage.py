"""What a store takes of its plan, as the cluster counts it in the quotas."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from storefleet.runtimes.kubernetes.api.resource_kinds import Manifest
from storefleet.runtimes.protocol import ResourceUsage

#: Quota, resource, and what people call it, in the order in which they are shown. Jobs come and go: they are left out.
_SHOWN_RESOURCES = (
    ("store", "requests.cpu", "CPU requests"),
    ("store", "limits.cpu", "CPU limits"),
    ("store", "requests.memory", "memory requests"),
    ("store", "limits.memory", "memory limits"),
    ("objects", "requests.storage", "storage"),
    ("objects", "persistentvolumeclaims", "volumes"),
    ("store", "pods", "pods"),
)
_BINARY_SUFFIXES = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL_SUFFIXES = {
    "n": "1e-9",
    "u": "1e-6",
    "m": "1e-3",
    "k": "1e3",
    "M": "1e6",
    "G": "1e9",
    "T": "1e12",
    "P": "1e15",
}
_DISPLAY_UNITS = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def list_resource_usage(quotas: list[Manifest]) -> list[ResourceUsage]:
    """Of what the cluster has counted; a quota that it has not yet is left out."""
    statuses = {each["metadata"]["name"]: each.get("status") or {} for each in quotas}
    found = (
        _make_usage(statuses.get(quota) or {}, resource, name)
        for quota, resource, name in _SHOWN_RESOURCES
    )
    return [use for use in found if use is not None]


def _make_usage(status: Manifest, resource: str, name: str) -> ResourceUsage | None:
    hard, used = (_read_quantity(status.get(part) or {}, resource) for part in ("hard", "used"))
    if hard is None or used is None:
        return None
    share = float(min(Decimal(1), used / hard)) if hard else None
    return ResourceUsage(
        name, _format_quantity(used, resource), _format_quantity(hard, resource), share
    )


def _read_quantity(amounts: Mapping[str, str], resource: str) -> Decimal | None:
    text = str(amounts.get(resource, ""))
    try:
        return parse_quantity(text) if text else None
    except InvalidOperation:
        return None


def parse_quantity(text: str) -> Decimal:
    """The number that the API writes with a suffix; raises InvalidOperation."""
    if text[-2:] in _BINARY_SUFFIXES:
        return Decimal(text[:-2]) * _BINARY_SUFFIXES[text[-2:]]
    if text[-1:] in _DECIMAL_SUFFIXES:
        return Decimal(text[:-1]) * Decimal(_DECIMAL_SUFFIXES[text[-1]])
    return Decimal(text)


def _format_quantity(amount: Decimal, resource: str) -> str:
    """As people read it."""
    if "memory" in resource or "storage" in resource:
        unit, size = next(
            ((unit, size) for unit, size in _DISPLAY_UNITS if amount >= size), ("bytes", 1)
        )
        return f"{_format_number(amount / size)} {unit}"
    return _format_number(amount)


def _format_number(amount: Decimal) -> str:
    return f"{amount:.3f}".rstrip("0").rstrip(".")
