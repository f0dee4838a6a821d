"""The parts of the bare cluster that act on the machine: builds, processes, volumes, DNS, files."""

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tools.devcluster import files
from tools.devcluster.down import remove_cluster
from tools.devcluster.errors import ClusterError
from tools.devcluster.kubernetes.api import ApiError
from tools.devcluster.layout import NODE_NAME, Layout, Network
from tools.devcluster.node import dns, processes, volumes
from tools.devcluster.programs import builds
from tools.devcluster.programs.debian import list_missing_packages
from tools.devcluster.status import describe_node_condition


def test_cached_folder_depends_on_sources_and_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = builds.GoModule("tool", ("example.org/tool",))
    (tmp_path / "go" / "tool").mkdir(parents=True)
    (tmp_path / "go" / "tool" / "go.mod").write_text("module x\n")
    monkeypatch.setattr(builds, "PACKAGE_FOLDER", tmp_path)
    first = builds.get_cached_folder(tmp_path, module)
    assert builds.get_cached_folder(tmp_path, module) == first
    (tmp_path / "go" / "tool" / "go.sum").write_text("changed\n")
    second = builds.get_cached_folder(tmp_path, module)
    assert second != first
    assert (
        builds.get_cached_folder(
            tmp_path, builds.GoModule("tool", ("example.org/tool",), tags="other")
        )
        != second
    )


def test_go_modules_have_go_sum() -> None:
    modules = [module for module in builds.MODULES if isinstance(module, builds.GoModule)]
    assert all(
        {"go.mod", "go.sum"} <= {source.name for source in module.list_sources()}
        for module in modules
    )
    names = [name for module in builds.MODULES for name in module.list_programs()]
    assert len(set(names)) == len(names)


def test_parse_go_version_compares_numerically() -> None:
    assert builds.parse_go_version("go version go1.26.8 linux/amd64") == (1, 26, 8)
    assert builds.parse_go_version("go version devel linux/amd64") < builds.MIN_GO_VERSION
    assert builds.parse_go_version("go version go1.30 linux/arm64") > builds.MIN_GO_VERSION


def test_list_missing_packages_checks_programs_and_files(tmp_path: Path) -> None:
    (tmp_path / "here").touch()
    wanted = {
        str(tmp_path / "here"): "one",
        str(tmp_path / "not-here"): "two",
        "sh": "dash",
        "no-such-word": "three",
    }
    assert list_missing_packages(wanted) == ["three", "two"]


def test_end_node_kills_tagged_process_that_ignores_sigterm(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "cluster")
    environment = {**os.environ, processes.TAG_VARIABLE: str(layout.state)}
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    script = f"{ignore}; print(flush=True); time.sleep(60)"
    child = subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        assert [identity.pid for identity in processes.find_tagged_processes(layout.state)] == [
            child.pid
        ]
        assert processes.find_node_process(layout.state) is None  # it has no namespace of its own
        assert processes.end_node(layout) is True
        assert child.wait(5) == -signal.SIGKILL
    assert processes.end_node(layout) is False


def test_process_identity_differs_for_reused_pid() -> None:
    me = processes.read_identity(os.getpid())
    assert me is not None
    assert me.is_alive
    assert not processes.ProcessIdentity(me.pid, "1").is_alive
    processes.send_signal(
        processes.ProcessIdentity(me.pid, "1"), signal.SIGKILL
    )  # otherwise this test would end here


class Server:
    """Stores volumes like the API server."""

    def __init__(self) -> None:
        self.volumes: dict[str, Mapping[str, Any]] = {}

    def create(self, _path: str, content: Mapping[str, Any]) -> None:
        if content["metadata"]["name"] in self.volumes:
            raise ApiError(409, "there already")
        self.volumes[content["metadata"]["name"]] = content

    def delete(self, path: str, *, uid: str) -> None:
        assert uid == "volume-uid"
        if self.volumes.pop(path.rpartition("/")[2], None) is None:
            raise ApiError(404, "not there")


def claim(**annotations: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "data", "namespace": "st-1", "uid": "u1", "annotations": annotations},
        "spec": {
            "storageClassName": "standard",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


def test_provisioner_creates_and_removes_folder_of_claim(tmp_path: Path) -> None:
    server = Server()
    keeper = volumes.VolumeProvisioner(server, tmp_path)  # type: ignore[arg-type] # the methods it uses
    wanted = claim(**{volumes.SELECTED_NODE: NODE_NAME})
    for _ in range(2):
        keeper.handle_change(volumes.CLAIMS_PATH, wanted)
    folder = tmp_path / "pvc-u1"
    assert folder.stat().st_mode & 0o777 == 0o777
    volume = dict(server.volumes["pvc-u1"])
    assert volume["spec"]["claimRef"]["uid"] == "u1"
    (folder / "table").mkdir()
    released = volume | {
        "metadata": volume["metadata"] | {"uid": "volume-uid"},
        "status": {"phase": "Released"},
    }
    keeper.handle_change(volumes.VOLUMES_PATH, released | {"status": {"phase": "Bound"}})
    assert folder.is_dir()
    for _ in range(2):
        keeper.handle_change(volumes.VOLUMES_PATH, released)
    assert not folder.exists()
    assert not server.volumes


def test_provisioner_ignores_claims_without_node_or_of_other_class(tmp_path: Path) -> None:
    placed = claim(**{volumes.SELECTED_NODE: NODE_NAME})
    assert volumes.needs_volume(placed)
    assert not volumes.needs_volume(claim())
    assert not volumes.needs_volume(
        placed | {"spec": placed["spec"] | {"storageClassName": "other"}}
    )
    assert not volumes.needs_volume(placed | {"spec": placed["spec"] | {"volumeName": "pvc-u1"}})
    server = Server()
    elsewhere = claim(**{volumes.SELECTED_NODE: "simulated-1"})
    volumes.VolumeProvisioner(server, tmp_path).handle_change(volumes.CLAIMS_PATH, elsewhere)  # type: ignore[arg-type] # as above
    assert list(server.volumes) == ["pvc-u1"]
    assert not list(tmp_path.iterdir())


def test_is_released_false_for_other_provisioner() -> None:
    volume = {"metadata": {"name": "x"}, "spec": {"persistentVolumeReclaimPolicy": "Delete"}}
    assert not volumes.is_released(volume | {"status": {"phase": "Released"}})


def test_remove_orphans_removes_only_old_folders(tmp_path: Path) -> None:
    old = time.time() - 2 * volumes.ORPHAN_AGE_S
    for name in ("pvc-known", "pvc-lost", "pvc-young"):
        (tmp_path / name).mkdir()
        if name != "pvc-young":
            os.utime(tmp_path / name, (old, old))
    volumes.VolumeProvisioner(Server(), tmp_path).remove_orphans(["pvc-known"])  # type: ignore[arg-type] # as above
    assert {path.name for path in tmp_path.iterdir()} == {"pvc-known", "pvc-young"}


def test_dns_query_and_response_match() -> None:
    network = Network.parse("10.200.0.0/16")
    question = dns.make_query("a.bc", 7)
    assert question[12:] == b"\1a\2bc\0\0\1\0\1"
    record = b"\xc0\x0c" + struct.pack("!2HIH", 1, 1, 5, 4) + network.api_service.packed
    answer = struct.pack("!6H", 7, 0x8580, 1, 1, 0, 0) + question[12:] + record
    assert dns.is_response_with_address(answer, 7, network.api_service)
    assert not dns.is_response_with_address(answer, 8, network.api_service)
    assert not dns.is_response_with_address(answer, 7, network.dns_service)
    nothing = struct.pack("!6H", 7, 0x8583, 1, 0, 0, 0) + question[12:]
    assert not dns.is_response_with_address(nothing, 7, network.api_service)
    assert socket.inet_ntoa(answer[-4:]) == str(network.api_service)


def test_describe_node_condition_returns_reason() -> None:
    def node(status: str, **more: str) -> dict[str, Any]:
        return {"status": {"conditions": [{"type": "Ready", "status": status, **more}]}}

    assert describe_node_condition(node("True")) == "Ready"
    assert (
        describe_node_condition(node("False", reason="KubeletNotReady", message="no network"))
        == "KubeletNotReady: no network"
    )
    assert "not reported" in describe_node_condition({})


def test_remove_cluster_other_folder_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(ClusterError, match="does not look like"):
        remove_cluster(Layout(tmp_path))
    assert (tmp_path / "photos").is_dir()


def test_lock_folder_locks_folder_without_file(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    with files.lock_folder(folder, purpose="test"):
        opened = f"os.open({str(folder)!r}, 0)"
        script = f"import fcntl, os; fcntl.flock({opened}, fcntl.LOCK_EX | fcntl.LOCK_NB)"
        assert subprocess.run(
            [sys.executable, "-c", script], stderr=subprocess.DEVNULL, check=False
        ).returncode
    assert not list(folder.iterdir())
