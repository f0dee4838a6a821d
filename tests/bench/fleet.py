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
_PORT = 8080  # of the shop's container
_SIMULATED = "storefleet.dev/simulated"
_STAGES = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    *(f"pod/fast/pod-{name}.yaml" for name in ("ready", "complete", "delete")),
)
_UP = 1800.0  # building its programs may be part of it


@dataclass(frozen=True)
class Fleet:
    """What a measurement has to know of the cluster."""

    folder: Path
    kubeconfig: Path
    programs: Path
    kwok: int = 0  # its process id

    @property
    def environment(self) -> dict[str, str]:
        """Environment of its clients, with homes of their own: no settings of this user apply."""
        path = f"{self.programs}:{os.environ['PATH']}"
        return {"PATH": path, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.folder)}

    def kubectl(self, *arguments: str, sent: str | None = None, timeout: float = 120) -> str:
        return subprocess.run(
            [self.programs / "kubectl", *arguments],
            env=self.environment,
            input=sent,
            check=True,
            capture_output=True,
            text=True,
            timeout=timeout,
        ).stdout

    def count(self, path: str, *, labels: str = "", fields: str = "") -> int:
        """Objects of all namespaces."""
        selectors = [f"--selector={labels}", f"--field-selector={fields}"]
        return len(
            self.kubectl("get", path, "--all-namespaces", "--no-headers", *selectors).splitlines()
        )

    def processes(self) -> dict[str, int]:
        """Process ids of the control plane's programs."""
        seen = json.loads(_bare_cluster("status", self.folder, "--output", "json"))
        return {each["name"]: each["pid"] for each in seen["processes"] if each["pid"]}

    def busy(self) -> dict[str, float]:
        """CPU seconds so far of each of them, and of kwok."""
        return {
            name: stage.cpu(pid) for name, pid in {**self.processes(), "kwok": self.kwok}.items()
        }


@contextmanager
def fleet(engine: Engine) -> Iterator[Fleet]:
    """Up with nothing in it, and taken away with everything that was."""
    folder = Path(tempfile.mkdtemp(prefix="storefleet-fleet-"))
    try:
        _bare_cluster("up", folder, "--block", BLOCK, timeout=_UP)
        made = Fleet(folder, folder / "cluster" / "kubeconfig", folder / "cluster" / "bin")
        with ExitStack() as stack:
            kwok = stack.enter_context(_ended(_kwok(made)))
            made = replace(made, kwok=kwok.pid)
            stack.enter_context(_ended(_stand_in(made, engine)))
            _make_nodes(made)
            yield made
    finally:
        _bare_cluster("reset", folder)
        shutil.rmtree(folder, ignore_errors=True)


def _bare_cluster(verb: str, folder: Path, *words: str, timeout: float = 120) -> str:
    command = [str(BARE_CLUSTER), verb, "--state", str(folder / "cluster"), *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=timeout)
    if done.returncode and verb != "status":
        raise RuntimeError(
            f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}"
        )
    return done.stdout


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _addresses() -> IPv4Network:
    """Addresses of simulated pods: the second half of the pod block, which the node never uses."""
    return list(IPv4Network(BLOCK).subnets(new_prefix=18))[3]


def _kwok(made: Fleet) -> subprocess.Popen[bytes]:
    """With the stages of its own release: a pod is ready at once, one of a Job is done at once."""
    stages = made.folder / "stages.yaml"
    stages.write_text(_stages(), encoding="utf-8")
    return _begun(
        made,
        "kwok",
        [
            str(made.programs / "kwok"),
            f"--kubeconfig={made.kubeconfig}",
            f"--config={stages}",
            "--v=WARN",
            f"--manage-nodes-with-label-selector={_SIMULATED}=yes",
            f"--cidr={_addresses()}",
            "--node-lease-duration-seconds=40",
        ],
    )


def _stages() -> str:
    """They are in the module that the program was built from, beside the source."""
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


def _stand_in(made: Fleet, engine: Engine) -> subprocess.Popen[bytes]:
    _bare_cluster_enter(made, "ip", "route", "add", "local", str(_addresses()), "dev", "lo")
    texts = [engine.storefront.expect, engine.admin.expect]
    node = f"--target={made.processes()['kube-apiserver']}"
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
    return _begun(made, "standin", command)


def _begun(made: Fleet, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
    with (made.folder / f"{name}.log").open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "HOME": str(made.folder)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def _bare_cluster_enter(made: Fleet, *words: str) -> None:
    command = [str(BARE_CLUSTER), "enter", "--state", str(made.folder / "cluster"), "--", *words]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def _make_nodes(made: Fleet) -> None:
    made.kubectl("cordon", REAL_NODE)
    nodes = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [_node(f"simulated-{number}") for number in range(NODES)],
    }
    made.kubectl("apply", "--filename", "-", sent=json.dumps(nodes))
    names = [f"node/simulated-{number}" for number in range(NODES)]
    made.kubectl("wait", "--for=condition=Ready", "--timeout=60s", *names)
    deadline = time.monotonic() + 60
    while "node.kubernetes.io/not-ready" in made.kubectl(
        "get", *names, "--output", "jsonpath={.items[*].spec.taints}"
    ):
        if time.monotonic() > deadline:
            raise RuntimeError("the simulated nodes did not become ready within 60 s")
        time.sleep(0.5)


def _node(name: str) -> dict[str, Any]:
    room = {"cpu": "256", "memory": "1Ti", "pods": "1000", "ephemeral-storage": "1Ti"}
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", _SIMULATED: "yes"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "status": {"allocatable": room, "capacity": room},
    }
