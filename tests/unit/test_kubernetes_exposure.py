"""Store exposure: chart values, and the address of the storefront check."""

from typing import Any

import pytest

from storefleet.core.settings import Settings, SettingsError, read_settings
from storefleet.runtimes.kubernetes.exposure import (
    StoreEntrypoint,
    find_entrypoint,
    make_exposure_values,
)

URL = "https://acme.shops.example.com/"
NOBODY = {"namespace": "", "name": "", "sectionName": ""}


@pytest.mark.parametrize(
    ("fields", "exposure"),
    [
        ({}, {"type": "none", "className": "", "tls": False, "gateway": NOBODY}),
        (
            {"ingress_class": "nginx"},
            {"type": "ingress", "className": "nginx", "tls": False, "gateway": NOBODY},
        ),
        (
            {"exposure": "ingress", "store_scheme": "https"},
            {"type": "ingress", "className": "", "tls": True, "gateway": NOBODY},
        ),
        (
            {"exposure": "none", "ingress_class": "nginx"},
            {"type": "none", "className": "nginx", "tls": False, "gateway": NOBODY},
        ),
        (
            {"exposure": "httproute", "route_gateway": "edge/public"},
            {
                "type": "httproute",
                "className": "",
                "tls": False,
                "gateway": {"namespace": "edge", "name": "public", "sectionName": ""},
            },
        ),
        (
            {"exposure": "httproute", "route_gateway": "edge/public/stores"},
            {
                "type": "httproute",
                "className": "",
                "tls": False,
                "gateway": {"namespace": "edge", "name": "public", "sectionName": "stores"},
            },
        ),
    ],
)
def test_exposure_sets_chart_values(fields: dict[str, Any], exposure: dict[str, Any]) -> None:
    assert make_exposure_values(Settings(**fields)) == exposure


@pytest.mark.parametrize(
    ("fields", "door"),
    [
        ({}, None),
        ({"exposure": "none", "ingress_address": "http://traefik.traefik.svc"}, None),
        (
            {"exposure": "ingress"},
            StoreEntrypoint("https://acme.shops.example.com", is_own_address=True),
        ),
        (
            {"exposure": "ingress", "ingress_address": "https://traefik.traefik.svc"},
            StoreEntrypoint("https://traefik.traefik.svc", is_own_address=False),
        ),
    ],
)
def test_exposure_determines_check_address(
    fields: dict[str, Any], door: StoreEntrypoint | None
) -> None:
    assert find_entrypoint(URL, Settings(**fields)) == door


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"exposure": "httproute"}, "STOREFLEET_ROUTE_GATEWAY"),
        ({"exposure": "tunnel"}, "STOREFLEET_EXPOSURE"),
        ({"route_gateway": "public"}, "STOREFLEET_ROUTE_GATEWAY"),
        ({"ingress_address": "traefik.traefik.svc"}, "STOREFLEET_INGRESS_ADDRESS"),
    ],
)
def test_invalid_exposure_is_rejected(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        read_settings(**fields)
