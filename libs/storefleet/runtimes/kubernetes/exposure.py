"""How people reach a store: what its chart is told about that, and where the way in is asked from inside."""

from typing import Any, NamedTuple

from storefleet.core.settings import Settings


class StoreEntrypoint(NamedTuple):
    """Where a request for a store's host is let in."""

    server: str  # scheme://address[:port]
    is_own_address: bool  # the store's own address; else the ingress controller's, which has a certificate for another name


def make_exposure_values(settings: Settings) -> dict[str, Any]:
    """The chart's values: one shape for every kind, so that a chart needs no guesses."""
    namespace, name, section = (*settings.route_gateway.split("/"), "", "")[:3]
    return {
        "type": settings.store_exposure,
        "className": settings.ingress_class,
        "tls": settings.store_scheme == "https",
        "gateway": {"namespace": namespace, "name": name, "sectionName": section},
    }


def find_entrypoint(url: str, settings: Settings) -> StoreEntrypoint | None:
    """Where to ask for the store at `url`; None where nothing leads to stores."""
    if settings.store_exposure == "none":
        return None
    if settings.ingress_address:
        return StoreEntrypoint(settings.ingress_address, is_own_address=False)
    return StoreEntrypoint(url.rstrip("/"), is_own_address=True)
