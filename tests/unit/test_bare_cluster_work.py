"""What the bare cluster does on a machine, each part alone: builds, processes, volumes, questions, folders."""

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

from tools.devcluster import builds, dns, files, processes, volumes
from tools.devcluster.api import ApiError
from tools.devcluster.debian import lacking
from tools.devcluster.down import reset
from tools.devcluster.errors import ClusterError
from tools.devcluster.layout import NODE_NAME, Layout, Network
from tools.devcluster.status import node_condition


def test_a_build_is_found_by_what_it_is_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = builds.Module("tool", ("example.org/tool",))
    (tmp_path / "go" / "tool").mkdir(parents=True)
    (tmp_path / "go" / "tool" / "go.mod").write_text("module x\n")
    monkeypatch.setattr(builds, "HERE", tmp_path)
    first = builds.cached_folder(tmp_path, module)
    assert builds.cached_folder(tmp_path, module) == first
    (tmp_path / "go" / "tool" / "go.sum").write_text("changed\n")
    second = builds.cached_folder(tmp_path, module)
    assert second != first
    assert (
        builds.cached_folder(tmp_path, builds.Module("tool", ("example.org/tool",), tags="other"))
        != second
    )


def test_every_program_is_pinned_by_a_lock() -> None:
    modules = [module for module in builds.MODULES if isinstance(module, builds.Module)]
    assert all(
        {"go.mod", "go.sum"} <= {source.name for source in module.sources()} for module in modules
    )
    names = [name for module in builds.MODULES for name in module.programs()]
    assert len(set(names)) == len(names)


def test_go_is_found_by_its_version() -> None:
    assert builds.version_of("go version go1.26.8 linux/amd64") == (1, 26, 8)
    assert builds.version_of("go version devel linux/amd64") < builds.GO_NEEDED
    assert builds.version_of("go version go1.30 linux/arm64") > builds.GO_NEEDED


def test_packages_are_lacking_when_what_they_bring_is(tmp_path: Path) -> None:
    (tmp_path / "here").touch()
    wanted = {
        str(tmp_path / "here"): "one",
        str(tmp_path / "not-here"): "two",
        "sh": "dash",
        "no-such-word": "three",
    }
    assert lacking(wanted) == ["three", "two"]


def test_a_process_is_found_by_what_it_carries_and_ended_for_certain(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "cluster")
    environment = {**os.environ, processes.TOKEN: str(layout.state)}
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", deaf], env=environment, stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        assert [identity.pid for identity in processes.carriers(layout.state)] == [child.pid]
        assert processes.first_process(layout.state) is None  # it has no namespace of its own
        assert processes.end_node(layout) is True
        assert child.wait(5) == -signal.SIGKILL
    assert processes.end_node(layout) is False


def test_a_later_process_of_the_same_number_is_another() -> None:
    me = processes.identify(os.getpid())
    assert me is not None
    assert me.alive
    assert not processes.Identity(me.pid, "1").alive
    processes.send(processes.Identity(me.pid, "1"), signal.SIGKILL)  # or this test would not go on


class Server:
    """Takes volumes as the API server does."""

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


def test_a_claim_gets_a_folder_that_anybody_may_write_and_loses_it(tmp_path: Path) -> None:
    server = Server()
    keeper = volumes.Keeper(server, tmp_path)  # type: ignore[arg-type] # all that it asks of an Api
    wanted = claim(**{volumes.SELECTED_NODE: NODE_NAME})
    for _ in range(2):
        keeper.handle(volumes.CLAIMS, wanted)
    folder = tmp_path / "pvc-u1"
    assert folder.stat().st_mode & 0o777 == 0o777
    volume = dict(server.volumes["pvc-u1"])
    assert volume["spec"]["claimRef"]["uid"] == "u1"
    (folder / "table").mkdir()
    released = volume | {
        "metadata": volume["metadata"] | {"uid": "volume-uid"},
        "status": {"phase": "Released"},
    }
    keeper.handle(volumes.VOLUMES, released | {"status": {"phase": "Bound"}})
    assert folder.is_dir()
    for _ in range(2):
        keeper.handle(volumes.VOLUMES, released)
    assert not folder.exists()
    assert not server.volumes


def test_claims_of_others_and_without_a_node_wait(tmp_path: Path) -> None:
    placed = claim(**{volumes.SELECTED_NODE: NODE_NAME})
    assert volumes.wants_volume(placed)
    assert not volumes.wants_volume(claim())
    assert not volumes.wants_volume(
        placed | {"spec": placed["spec"] | {"storageClassName": "other"}}
    )
    assert not volumes.wants_volume(placed | {"spec": placed["spec"] | {"volumeName": "pvc-u1"}})
    server = Server()
    elsewhere = claim(**{volumes.SELECTED_NODE: "simulated-1"})
    volumes.Keeper(server, tmp_path).handle(volumes.CLAIMS, elsewhere)  # type: ignore[arg-type] # as above
    assert list(server.volumes) == ["pvc-u1"]
    assert not list(tmp_path.iterdir())


def test_a_volume_of_somebody_else_is_left_alone() -> None:
    volume = {"metadata": {"name": "x"}, "spec": {"persistentVolumeReclaimPolicy": "Delete"}}
    assert not volumes.is_over(volume | {"status": {"phase": "Released"}})


def test_folders_without_a_volume_go_when_they_are_old(tmp_path: Path) -> None:
    old = time.time() - 2 * volumes.SWEEP_SECONDS
    for name in ("pvc-known", "pvc-lost", "pvc-young"):
        (tmp_path / name).mkdir()
        if name != "pvc-young":
            os.utime(tmp_path / name, (old, old))
    volumes.Keeper(Server(), tmp_path).sweep(["pvc-known"])  # type: ignore[arg-type] # as above
    assert {path.name for path in tmp_path.iterdir()} == {"pvc-known", "pvc-young"}


def test_a_name_is_asked_for_and_its_answer_understood() -> None:
    network = Network.of("10.200.0.0/16")
    question = dns.make_question("a.bc", 7)
    assert question[12:] == b"\1a\2bc\0\0\1\0\1"
    record = b"\xc0\x0c" + struct.pack("!2HIH", 1, 1, 5, 4) + network.api_service.packed
    answer = struct.pack("!6H", 7, 0x8580, 1, 1, 0, 0) + question[12:] + record
    assert dns.has_address(answer, 7, network.api_service)
    assert not dns.has_address(answer, 8, network.api_service)
    assert not dns.has_address(answer, 7, network.dns_service)
    nothing = struct.pack("!6H", 7, 0x8583, 1, 0, 0, 0) + question[12:]
    assert not dns.has_address(nothing, 7, network.api_service)
    assert socket.inet_ntoa(answer[-4:]) == str(network.api_service)


def test_a_node_that_is_not_ready_says_why() -> None:
    def node(status: str, **more: str) -> dict[str, Any]:
        return {"status": {"conditions": [{"type": "Ready", "status": status, **more}]}}

    assert node_condition(node("True")) == "Ready"
    assert (
        node_condition(node("False", reason="KubeletNotReady", message="no network"))
        == "KubeletNotReady: no network"
    )
    assert "not reported" in node_condition({})


def test_only_a_cluster_s_folder_is_removed(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(ClusterError, match="does not look like"):
        reset(Layout(tmp_path))
    assert (tmp_path / "photos").is_dir()


def test_a_lock_is_kept_by_the_folder_itself(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    with files.locked(folder, doing="test"):
        script = f"import fcntl, os; fcntl.flock(os.open({str(folder)!r}, 0), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        assert subprocess.run(
            [sys.executable, "-c", script], stderr=subprocess.DEVNULL, check=False
        ).returncode
    assert not list(folder.iterdir())
