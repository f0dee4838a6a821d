"""A cluster for many stores: a real control plane, nodes simulated by kwok, one stand-in server.

Every simulated pod has an address in a range that belongs to the real node, so requests to a store
pass its Service, kube-proxy and the endpoints of the control plane before they reach the stand-in.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from storefleet.engines.descriptor import Engine
from tests.bench import stage
from tests.bench.figures import ROOT

BLOCK = os.environ.get("STOREFLEET_BENCH_BLOCK", "10.219.0.0/16")
BARE_CLUSTER = ROOT / "tools" / "bare-cluster"
REAL_NODE = "storefleet"
NODES = 10
_PORT = 8080  # of the store's container
_SIMULATED = "storefleet.dev/simulated"
_STAGES = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    *(f"pod/fast/pod-{name}.yaml" for name in ("ready", "complete", "delete")),
)
_UP_TIMEOUT_S = 1800.0  # may include building its programs


@dataclass(frozen=True)
class Fleet:
    """Paths and clients of the running cluster."""

    folder: Path
    kubeconfig: Path
    programs: Path
    kwok_pid: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """Environment of its clients; their home is empty, so no settings of the user apply."""
        path = f"{self.programs}:{os.environ['PATH']}"
        return {"PATH": path, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.folder)}

    def run_kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
        return subprocess.run(
            [self.programs / "kubectl", *arguments],
            env=self.environment,
            input=stdin,
            check=True,
            capture_output=True,
            text=True,
            timeout=timeout,
        ).stdout

    def count_objects(self, path: str, *, labels: str = "", fields: str = "") -> int:
        """Count the objects of all namespaces."""
        selectors = [f"--selector={labels}", f"--field-selector={fields}"]
        return len(
            self.run_kubectl(
                "get", path, "--all-namespaces", "--no-headers", *selectors
            ).splitlines()
        )

    def list_control_plane_pids(self) -> dict[str, int]:
        """Return the process id of each program of the control plane."""
        seen = json.loads(_run_bare_cluster("status", self.folder, "--output", "json"))
        return {each["name"]: each["pid"] for each in seen["processes"] if each["pid"]}

    def get_cpu_seconds(self) -> dict[str, float]:
        """Return the CPU seconds so far of each control plane program and of kwok."""
        return {
            name: stage.get_process_cpu_seconds(pid)
            for name, pid in {**self.list_control_plane_pids(), "kwok": self.kwok_pid}.items()
        }


@contextmanager
def create_fleet(engine: Engine) -> Iterator[Fleet]:
    """Create an empty cluster; delete it and its files at exit."""
    folder = Path(tempfile.mkdtemp(prefix="storefleet-fleet-"))
    try:
        _run_bare_cluster("up", folder, "--block", BLOCK, timeout=_UP_TIMEOUT_S)
        made = Fleet(folder, folder / "cluster" / "kubeconfig", folder / "cluster" / "bin")
        with ExitStack() as stack:
            kwok = stack.enter_context(_terminate_at_exit(_start_kwok(made)))
            made = replace(made, kwok_pid=kwok.pid)
            stack.enter_context(_terminate_at_exit(_start_stand_in(made, engine)))
            _create_nodes(made)
            yield made
    finally:
        _run_bare_cluster("reset", folder)
        shutil.rmtree(folder, ignore_errors=True)


def _run_bare_cluster(verb: str, folder: Path, *words: str, timeout: float = 120) -> str:
    command = [str(BARE_CLUSTER), verb, "--state", str(folder / "cluster"), *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=timeout)
    if done.returncode and verb != "status":
        raise RuntimeError(
            f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}"
        )
    return done.stdout


@contextmanager
def _terminate_at_exit(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _get_simulated_pod_block() -> IPv4Network:
    """Return the last quarter of the block; no real pod has an address in it."""
    return list(IPv4Network(BLOCK).subnets(new_prefix=18))[3]


def _start_kwok(made: Fleet) -> subprocess.Popen[bytes]:
    """Start kwok with its release's stages: pods become ready, or complete in a Job, at once."""
    stages = made.folder / "stages.yaml"
    stages.write_text(_read_kwok_stages(), encoding="utf-8")
    return _start_process(
        made,
        "kwok",
        [
            str(made.programs / "kwok"),
            f"--kubeconfig={made.kubeconfig}",
            f"--config={stages}",
            "--v=WARN",
            f"--manage-nodes-with-label-selector={_SIMULATED}=yes",
            f"--cidr={_get_simulated_pod_block()}",
            "--node-lease-duration-seconds=40",
        ],
    )


def _read_kwok_stages() -> str:
    """Read the stages from the Go module that kwok was built from."""
    module = json.loads(
        subprocess.run(
            ["go", "mod", "download", "-json", "sigs.k8s.io/kwok"],
            cwd=ROOT / "tools" / "devcluster" / "go" / "kwok",
            env={**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"},
            check=True,
            capture_output=True,
            timeout=300,
        ).stdout
    )
    folder = Path(module["Dir"]) / "kustomize" / "stage"
    return "\n---\n".join((folder / path).read_text(encoding="utf-8") for path in _STAGES)


def _start_stand_in(made: Fleet, engine: Engine) -> subprocess.Popen[bytes]:
    _run_in_cluster_network(
        made, "ip", "route", "add", "local", str(_get_simulated_pod_block()), "dev", "lo"
    )
    texts = [page.expect for page in (*engine.checks.installed, *engine.checks.healthy)]
    node = f"--target={made.list_control_plane_pids()['kube-apiserver']}"
    command = [
        "nsenter",
        node,
        "--net",
        "--",
        sys.executable,
        "-m",
        "tests.bench.standin",
        str(_PORT),
        *texts,
    ]
    return _start_process(made, "standin", command)


def _start_process(made: Fleet, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
    with (made.folder / f"{name}.log").open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "HOME": str(made.folder)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def _run_in_cluster_network(made: Fleet, *words: str) -> None:
    command = [str(BARE_CLUSTER), "enter", "--state", str(made.folder / "cluster"), "--", *words]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def _create_nodes(made: Fleet) -> None:
    made.run_kubectl("cordon", REAL_NODE)
    nodes = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [_make_node(f"simulated-{number}") for number in range(NODES)],
    }
    made.run_kubectl("apply", "--filename", "-", stdin=json.dumps(nodes))
    names = [f"node/simulated-{number}" for number in range(NODES)]
    made.run_kubectl("wait", "--for=condition=Ready", "--timeout=60s", *names)
    deadline = time.monotonic() + 60
    while "node.kubernetes.io/not-ready" in made.run_kubectl(
        "get", *names, "--output", "jsonpath={.items[*].spec.taints}"
    ):
        if time.monotonic() > deadline:
            raise RuntimeError("the simulated nodes did not become ready within 60 s")
        time.sleep(0.5)


def _make_node(name: str) -> dict[str, Any]:
    capacity = {"cpu": "256", "memory": "1Ti", "pods": "1000", "ephemeral-storage": "1Ti"}
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", _SIMULATED: "yes"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "status": {"allocatable": capacity, "capacity": capacity},
    }
