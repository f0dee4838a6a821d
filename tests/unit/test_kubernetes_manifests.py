"""Objects of a store's namespace match the golden files."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from storefleet.core.settings import Settings
from storefleet.runtimes.kubernetes import manifests
from storefleet.runtimes.kubernetes.api.resource_kinds import Manifest
from storefleet.runtimes.kubernetes.manifests import locate_store
from tests.support.cluster.samples import a_store, pocket

GOLDEN = Path(__file__).parent / "golden"


def settings(**fields: Any) -> Settings:
    return Settings(runtime="kubernetes", store_domain="shops.example.com", **fields)


def everything(egress: str = "none", **fields: Any) -> list[Manifest]:
    chosen, store, engine = settings(**fields), a_store(), pocket()
    assert engine.kubernetes
    engine = engine.model_copy(
        update={"kubernetes": engine.kubernetes.model_copy(update={"egress": egress})}
    )
    return [
        manifests.make_namespace(store, locate_store(store, chosen)),
        *manifests.make_role_bindings(store, platform_namespace=chosen.platform_namespace),
        *manifests.make_store_network_policies(store, engine, chosen),
        *manifests.make_quotas_and_limits(store, engine.kubernetes.plan),
        manifests.make_secret(
            store, manifests.ADMIN_SECRET, {"username": "admin@acme", "password": "hush"}
        ),
    ]


def golden(name: str) -> list[Any]:
    return list(yaml.safe_load_all((GOLDEN / name).read_text(encoding="utf-8")))


def test_namespace_objects_match_golden_file() -> None:
    assert everything() == golden("namespace.yaml")


def test_internet_access_adds_one_policy() -> None:
    closed, opened = everything(), everything(egress="internet")
    assert [each for each in opened if each not in closed] == golden("internet.yaml")


def test_chart_values_match_golden_file() -> None:
    chosen, store = (
        settings(
            ingress_class="traefik", store_scheme="https", image_prefix="registry.example.com/"
        ),
        a_store(),
    )
    assert (
        manifests.make_chart_values(store, pocket(), locate_store(store, chosen), chosen)
        == golden("values.yaml")[0]
    )


def test_upload_limit_of_plan_is_passed_to_chart() -> None:
    chosen, store, engine = settings(), a_store(), pocket()
    assert engine.kubernetes
    plan = engine.kubernetes.plan.model_copy(update={"upload_max_bytes": 33_554_432})
    kubernetes = engine.kubernetes.model_copy(update={"plans": {"small": plan}})
    values = manifests.make_chart_values(
        store,
        engine.model_copy(update={"kubernetes": kubernetes}),
        locate_store(store, chosen),
        chosen,
    )
    assert values["uploadMaxBytes"] == 33_554_432


def test_objects_have_ownership_labels() -> None:
    for manifest in everything(egress="internet"):
        assert (
            manifest["metadata"]["labels"].items()
            >= {
                "app.kubernetes.io/managed-by": "storefleet",
                "storefleet.dev/store": "sto_0123456789abcdef",
            }.items()
        )


@pytest.mark.parametrize(
    ("fields", "url", "authority"),
    [
        ({}, "http://acme.shops.example.com/", "acme.shops.example.com"),
        ({"store_scheme": "https"}, "https://acme.shops.example.com/", "acme.shops.example.com"),
        ({"store_public_port": 80}, "http://acme.shops.example.com/", "acme.shops.example.com"),
        (
            {"store_public_port": 8443, "store_scheme": "https"},
            "https://acme.shops.example.com:8443/",
            None,
        ),
        ({"store_public_port": 443}, "http://acme.shops.example.com:443/", None),
    ],
)
def test_store_addresses(fields: dict[str, Any], url: str, authority: str | None) -> None:
    place = locate_store(a_store(), settings(**fields))
    assert (place.namespace, place.host) == ("st-0123456789abcdef", "acme.shops.example.com")
    assert place.url == url
    assert place.authority == (authority or url.split("/")[2])


@pytest.mark.parametrize(
    ("schema", "accepts"),
    [
        (None, True),
        ({"type": "object"}, True),
        ({"additionalProperties": False, "properties": {"setupMode": {}}}, True),
        ({"additionalProperties": False, "properties": {"image": {}}}, False),
    ],
)
def test_setup_mode_is_passed_to_charts_that_accept_it(
    tmp_path: Path, schema: dict[str, Any] | None, accepts: bool
) -> None:
    if schema is not None:
        (tmp_path / "values.schema.json").write_text(json.dumps(schema), encoding="utf-8")
    assert manifests.accepts_setup_mode(tmp_path) is accepts
