"""Resource usage of a store against its plan, from the status of its ResourceQuotas."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from storefleet.runtimes.kubernetes.api.resource_kinds import Manifest
from storefleet.runtimes.protocol import ResourceUsage

#: Quota, resource and displayed name, in display order. The quota of Jobs is left out: they are
#: temporary.
_SHOWN_RESOURCES = (
    ("store", "requests.cpu", "CPU requests"),
    ("store", "limits.cpu", "CPU limits"),
    ("store", "requests.memory", "memory requests"),
    ("store", "limits.memory", "memory limits"),
    ("objects", "requests.storage", "storage"),
    ("objects", "persistentvolumeclaims", "volumes"),
    ("store", "pods", "pods"),
)
_BINARY_SUFFIXES = {
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "Pi": 2**50,
    "Ei": 2**60,
}
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
    """List what a store uses of its plan.

    Args:
        quotas: The ResourceQuotas of the store's namespace.

    Returns:
        One entry per resource, in display order; without those whose usage the cluster has not
        counted yet.
    """
    statuses = {each["metadata"]["name"]: each.get("status") or {} for each in quotas}
    found = (
        _make_usage(statuses.get(quota) or {}, resource, name)
        for quota, resource, name in _SHOWN_RESOURCES
    )
    return [usage for usage in found if usage is not None]


def parse_quantity(text: str) -> Decimal:
    """Parse a quantity of the Kubernetes API, such as `250m` or `1Gi`.

    Raises:
        InvalidOperation: It is not a quantity.
    """
    if text[-2:] in _BINARY_SUFFIXES:
        return Decimal(text[:-2]) * _BINARY_SUFFIXES[text[-2:]]
    if text[-1:] in _DECIMAL_SUFFIXES:
        return Decimal(text[:-1]) * Decimal(_DECIMAL_SUFFIXES[text[-1]])
    return Decimal(text)


def _make_usage(status: Manifest, resource: str, name: str) -> ResourceUsage | None:
    hard = _read_quantity(status.get("hard") or {}, resource)
    used = _read_quantity(status.get("used") or {}, resource)
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


def _format_quantity(amount: Decimal, resource: str) -> str:
    """Format a quantity for display, with a binary unit for memory and storage."""
    if "memory" in resource or "storage" in resource:
        unit, size_bytes = next(
            ((unit, size) for unit, size in _DISPLAY_UNITS if amount >= size), ("bytes", 1)
        )
        return f"{_format_number(amount / size_bytes)} {unit}"
    return _format_number(amount)


def _format_number(amount: Decimal) -> str:
    return f"{amount:.3f}".rstrip("0").rstrip(".")
