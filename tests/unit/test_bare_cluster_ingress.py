"""The bare cluster's ingress controller: what is applied, and that its source is pinned."""

import kubernetes_validate
import pytest

from tools.devcluster import traefik
from tools.devcluster.builds import PACKAGE_FOLDER
from tools.devcluster.ingress import CLASS_NAME, GATEWAY_NAME, NAMESPACE, make_manifests

OWN = [each for each in make_manifests() if "gateway.networking" not in each["apiVersion"]]


@pytest.mark.parametrize("manifest", OWN, ids=lambda each: each["kind"])
def test_kubernetes_knows_every_object(manifest: dict[str, object]) -> None:
    kubernetes_validate.validate(manifest, "1.36", strict=True)


def test_pod_and_gateway_are_where_the_platform_looks_for_them() -> None:
    made = {each["kind"]: each for each in make_manifests()}
    assert (
        made["Namespace"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        == "restricted"
    )
    assert (NAMESPACE, CLASS_NAME, GATEWAY_NAME) == ("traefik", "traefik", "traefik")
    assert made["Gateway"]["spec"]["gatewayClassName"] == made["GatewayClass"]["metadata"]["name"]
    ports = {
        port["name"]: port["containerPort"]
        for port in made["Deployment"]["spec"]["template"]["spec"]["containers"][0]["ports"]
    }
    assert (
        made["Service"]["spec"]["ports"][0]["targetPort"]
        == ports["web"]
        == made["Gateway"]["spec"]["listeners"][0]["port"]
    )


def test_every_source_is_pinned() -> None:
    folder = PACKAGE_FOLDER / "go" / "traefik"
    sums = (folder / "go.sum").read_text(encoding="utf-8")
    assert f"{traefik.GATEWAY_API.replace('@', ' ')} {traefik.GATEWAY_API_SUM}\n" in sums
    assert "go-acme/lego/v5" not in sums  # it is pinned by the sum in traefik.py
    assert "github.com/go-acme/lego/v5 => ./lego" in (folder / "go.mod").read_text(encoding="utf-8")
    assert {path.suffix for path in traefik.MODULE.sources()} == {".go", ".mod", ".sum"}
