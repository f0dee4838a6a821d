"""The bare cluster's addresses, configuration files and argument lists, without I/O."""

import io
import tarfile
import tomllib
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from tools.devcluster import settings
from tools.devcluster.errors import ClusterError
from tools.devcluster.kubernetes.images import make_archive, read_archive_images
from tools.devcluster.kubernetes.manifests import make_api_path, make_manifests
from tools.devcluster.layout import Layout, Network
from tools.devcluster.node import configuration
from tools.devcluster.node.certificates import list_certificates
from tools.devcluster.node.link import check_routes
from tools.devcluster.node.process_table import FIRST_PROCESSES, make_processes

NETWORK = Network.parse("10.200.0.0/16")
LAYOUT = Layout(Path('/srv/a "quoted" folder/cluster'))
PROGRAMS = {
    name: Path("/cache") / name
    for name in (
        *FIRST_PROCESSES,
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-proxy",
        "coredns",
        "kube-network-policies",
    )
}


def test_network_parts_do_not_overlap() -> None:
    parts = [NETWORK.link_block, NETWORK.services, NETWORK.pods]
    assert all(part.subnet_of(NETWORK.block) for part in parts)
    assert not any(one.overlaps(other) for one in parts for other in parts if one is not other)
    assert {NETWORK.host, NETWORK.node} < set(NETWORK.link_block)
    assert {NETWORK.api_service, NETWORK.dns_service} <= set(NETWORK.services.hosts())
    assert len(Network.parse("172.255.0.0/16").link) <= 15  # the kernel's limit


@pytest.mark.parametrize("block", ["10.200.0.0/24", "10.200.0.1/16", "nonsense", "fd00::/16"])
def test_network_parse_invalid_block_fails(block: str) -> None:
    with pytest.raises(ClusterError, match="--block"):
        Network.parse(block)


def test_check_routes_overlapping_route_fails() -> None:
    def routes(destination: str, device: str) -> list[dict[str, str]]:
        return [
            {"dst": "default", "dev": "eth0"},
            {"dst": "fe80::/64", "dev": "eth0"},
            {"dst": destination, "dev": device},
        ]

    check_routes(NETWORK, routes("192.0.2.0/24", "eth0"))
    check_routes(NETWORK, routes("10.200.0.0/30", NETWORK.link))
    for taken in ("10.200.3.0/24", "10.0.0.0/8", "10.200.0.7"):
        with pytest.raises(ClusterError, match="in use"):
            check_routes(NETWORK, routes(taken, "eth0"))


def test_layout_name_differs_by_folder() -> None:
    assert LAYOUT.name != Layout(Path("/srv/other")).name
    assert (
        configuration.make_kubelet_configuration(LAYOUT, NETWORK)["cgroupRoot"] == f"/{LAYOUT.name}"
    )


def test_containerd_configuration_quotes_folder_names() -> None:
    made = tomllib.loads(
        configuration.make_containerd_configuration(LAYOUT, runc=Path("/cache/runc"))
    )
    runtime = made["plugins"]["io.containerd.cri.v1.runtime"]
    assert runtime["cni"]["conf_dir"] == str(LAYOUT.configuration / "cni")
    assert runtime["containerd"]["runtimes"]["runc"]["options"]["BinaryName"] == "/cache/runc"


def test_make_processes_lists_every_program() -> None:
    processes = make_processes(LAYOUT, NETWORK, programs=PROGRAMS, audit_log=None)
    assert [process.name for process in processes[: len(FIRST_PROCESSES)]] == list(FIRST_PROCESSES)
    assert {process.name for process in processes} == {*PROGRAMS, "volumes"}
    assert not [word for process in processes for word in process.command if "audit" in word]
    logging = make_processes(LAYOUT, NETWORK, programs=PROGRAMS, audit_log=Path("/srv/audit.log"))
    changed = {one.name for one, other in zip(processes, logging, strict=True) if one != other}
    assert changed == {"kube-apiserver"}


def test_api_server_enables_node_and_rbac_authorizers() -> None:
    [server] = [
        p
        for p in make_processes(LAYOUT, NETWORK, programs=PROGRAMS, audit_log=None)
        if "api" in p.name
    ]
    assert {"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"} <= set(
        server.command
    )


def test_certificate_subjects_match_rbac_names() -> None:
    made = {certificate.name: certificate for certificate in list_certificates(NETWORK)}
    assert made["kubelet"].subject == "/O=system:nodes/CN=system:node:storefleet"
    assert made["admin"].subject == "/O=system:masters/CN=admin"
    assert {f"IP:{NETWORK.node}", f"IP:{NETWORK.api_service}"} <= set(
        made["kube-apiserver"].alternative_names
    )
    assert [name for name, one in made.items() if one.groups == ("system:masters",)] == ["admin"]
    assert {one.authority for one in made.values() if one.name.endswith("etcd")} == {"etcd-ca"}


def test_manifests_have_unique_api_paths() -> None:
    paths = [make_api_path(manifest) for manifest in make_manifests(NETWORK)]
    assert len(set(paths)) == len(paths)
    assert "/apis/storage.k8s.io/v1/storageclasses/standard" in paths
    assert "/api/v1/namespaces/kube-system/services/kube-dns" in paths


def test_make_archive_is_reproducible(tmp_path: Path) -> None:
    archive = make_archive("storefleet.dev/pause:1", {"pause": b"program"}, entrypoint=["/pause"])
    assert archive == make_archive(
        "storefleet.dev/pause:1", {"pause": b"program"}, entrypoint=["/pause"]
    )
    (tmp_path / "pause.tar").write_bytes(archive)
    [(name, digest)] = read_archive_images(tmp_path / "pause.tar").items()
    assert name == "storefleet.dev/pause:1"
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        assert f"blobs/{digest.replace(':', '/')}" in opened.getnames()


def test_read_archive_images_invalid_archive_fails(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"nothing")
    with pytest.raises(ClusterError, match="no image archive"):
        read_archive_images(tmp_path / "x.tar")


def test_merge_options_override_current_settings(tmp_path: Path) -> None:
    kept = settings.ClusterSettings(block="10.201.0.0/16")
    chosen = settings.merge_options(
        kept, block=None, audit_log=str(tmp_path / "audit.log"), exists=True
    )
    assert (chosen.block, chosen.audit_log) == ("10.201.0.0/16", tmp_path / "audit.log")
    assert settings.merge_options(chosen, block=None, audit_log="", exists=True).audit_log is None
    with pytest.raises(ClusterError, match="reset"):
        settings.merge_options(kept, block="10.202.0.0/16", audit_log=None, exists=True)
    for hidden in ("/var/log/audit.log", "/run/audit.log"):
        with pytest.raises(ClusterError, match="node has its own"):
            settings.merge_options(kept, block=None, audit_log=hidden, exists=True)


def test_settings_round_trip_through_file(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert settings.read_settings(layout) == settings.ClusterSettings()
    wanted = settings.ClusterSettings(block="10.9.0.0/16", audit_log=tmp_path / "a.log")
    settings.write_settings(layout, wanted)
    assert settings.read_settings(layout) == wanted
    layout.settings.write_text("{")
    with pytest.raises(ClusterError, match="reset"):
        settings.read_settings(layout)


def test_network_addresses_of_machine_and_node() -> None:
    assert (NETWORK.host, NETWORK.node) == (IPv4Address("10.200.0.1"), IPv4Address("10.200.0.2"))
    assert NETWORK.pods == IPv4Network("10.200.128.0/17")
