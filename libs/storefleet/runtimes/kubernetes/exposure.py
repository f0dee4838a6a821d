"""Exposure of stores: the chart's values for it, and the address that the runtime checks."""

from typing import Any, NamedTuple

from storefleet.core.settings import Settings


class StoreEntrypoint(NamedTuple):
    """The address at which requests for a store's host name enter the cluster.

    Attributes:
        server: `scheme://address[:port]`.
        is_own_address: True if this is the store's own URL; False if it is the ingress controller's
            address inside the cluster, whose certificate is for another name.
    """

    server: str
    is_own_address: bool


def make_exposure_values(settings: Settings) -> dict[str, Any]:
    """Make the chart's `exposure` values; they have the same shape for every exposure type."""
    namespace, name, section = (*settings.route_gateway.split("/"), "", "")[:3]
    return {
        "type": settings.store_exposure,
        "className": settings.ingress_class,
        "tls": settings.store_scheme == "https",
        "gateway": {"namespace": namespace, "name": name, "sectionName": section},
    }


def find_entrypoint(url: str, settings: Settings) -> StoreEntrypoint | None:
    """Return the entry point of the store at `url`; None if stores are not exposed."""
    if settings.store_exposure == "none":
        return None
    if settings.ingress_address:
        return StoreEntrypoint(settings.ingress_address, is_own_address=False)
    return StoreEntrypoint(url.rstrip("/"), is_own_address=True)
