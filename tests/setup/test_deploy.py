"""scripts/deploy in a kind cluster: the chart's values, and that the chart accepts them."""

import importlib.util
import json
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.cluster.charts import render_objects
from tests.support.documents.sources import ROOT


@pytest.fixture
def deploy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, in a folder where kind has been set up and images were built."""
    loader = SourceFileLoader("deploy", str(ROOT / "scripts" / "deploy"))
    spec = importlib.util.spec_from_loader("deploy", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "KIND", tmp_path / "kind.json")
    (tmp_path / "build" / "images").mkdir(parents=True)
    (tmp_path / "build" / "images" / "docker.json").write_text(
        '{"platform": "storefleet/platform:local-abcd"}'
    )
    return module


@pytest.mark.parametrize(
    ("port", "url", "store_port"),
    [(80, "http://storefleet.localhost", None), (8080, "http://storefleet.localhost:8080", "8080")],
)
def test_kind_values_expose_platform_through_traefik(
    deploy: ModuleType, port: int, url: str, store_port: str | None
) -> None:
    deploy.KIND.write_text(
        json.dumps({"kind": "storefleet", "domain": "localhost", "http_port": port})
    )
    values: dict[str, Any] = deploy.make_kind_values()
    objects = render_objects(files=("values-local.yaml",), values=values)
    ingress = next(each for each in objects if each["kind"] == "Ingress")
    assert ingress["spec"]["ingressClassName"] == "traefik"
    assert ingress["spec"]["rules"][0]["host"] == "storefleet.localhost"
    gateway = next(
        each
        for each in objects
        if each["kind"] == "Deployment" and each["metadata"]["name"] == "gateway"
    )
    container = gateway["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "storefleet/platform:local-abcd"
    told = {item["name"]: item.get("value") for item in container["env"]}
    assert told["STOREFLEET_PUBLIC_URL"] == url
    assert told["STOREFLEET_INGRESS_ADDRESS"] == "http://traefik.traefik.svc"
    assert told["STOREFLEET_STORE_PUBLIC_PORT"] in {store_port, str(port)}
    services = [each for each in objects if each["kind"] == "Service"]
    assert all("nodePort" not in item for each in services for item in each["spec"]["ports"])


def test_deploy_without_images_fails(deploy: ModuleType) -> None:
    deploy.KIND.write_text(
        json.dumps({"kind": "storefleet", "domain": "localhost", "http_port": 80})
    )
    (deploy.ROOT / "build" / "images" / "docker.json").unlink()
    with pytest.raises(deploy.DeployError, match="make build"):
        deploy.make_kind_values()
