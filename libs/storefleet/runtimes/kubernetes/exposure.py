"""How people reach a store: what its chart is told about that, and where the way in is asked from inside."""

from typing import Any, NamedTuple

from storefleet.core.settings import Settings


class Door(NamedTuple):
    """Where a request for a store's host is let in."""

    server: str  # scheme://address[:port]
    own: bool  # the store's own address; else the ingress controller's, which has a certificate for another name


def make_exposure(settings: Settings) -> dict[str, Any]:
    """The chart's values: one shape for every kind, so that a chart needs no guesses."""
    namespace, name, section = (*settings.route_gateway.split("/"), "", "")[:3]
    return {
        "type": settings.store_exposure,
        "className": settings.ingress_class,
        "tls": settings.store_scheme == "https",
        "gateway": {"namespace": namespace, "name": name, "sectionName": section},
    }


def door_of(url: str, settings: Settings) -> Door | None:
    """Where to ask for the store at `url`; None where nothing leads to stores."""
    if settings.store_exposure == "none":
        return None
    if settings.ingress_address:
        return Door(settings.ingress_address, own=False)
    return Door(url.rstrip("/"), own=True)
