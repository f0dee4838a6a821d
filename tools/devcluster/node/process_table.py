"""The processes of a node: their programs, arguments and order of start.

up.py writes the table to the state folder; the supervisor reads it there.
"""

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tools.devcluster import files
from tools.devcluster.layout import CLUSTER_DOMAIN, NODE_NAME, PACKET_QUEUE, TOOLS, Layout, Network

#: Start order: the second group needs a running API server, the rest also its role bindings.
FIRST_PROCESSES = ("etcd", "containerd", "kube-apiserver")
SECOND_PROCESSES = ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
API_CLIENT_RATE_OPTIONS = {"kube-api-qps": "200", "kube-api-burst": "400"}


@dataclass(frozen=True)
class ProcessSpec:
    """A name and an argument list that starts with the path of a program."""

    name: str
    command: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "ProcessSpec":
        """Read a process from its JSON object."""
        return cls(name=content["name"], command=tuple(content["command"]))


def make_processes(
    layout: Layout, network: Network, *, programs: Mapping[str, Path], audit_log: Path | None
) -> list[ProcessSpec]:
    """Make the table of all processes; `programs` maps names to built files."""
    configuration = layout.configuration
    options = {
        "etcd": _make_etcd_options(layout),
        "kube-apiserver": _make_api_server_options(layout, network, audit_log),
        "kube-controller-manager": _make_controller_manager_options(layout, network),
        "kube-scheduler": _make_scheduler_options(layout),
        "kubelet": {
            "config": f"{configuration}/kubelet.json",
            "kubeconfig": f"{configuration}/kubelet.kubeconfig",
            "hostname-override": NODE_NAME,
            "node-ip": str(network.node),
        },
        "kube-proxy": {"config": f"{configuration}/kube-proxy.json"},
        "containerd": {"config": f"{configuration}/containerd.toml"},
        "coredns": {"conf": f"{configuration}/Corefile"},
        "kube-network-policies": {
            "kubeconfig": f"{configuration}/network-policies.kubeconfig",
            "node": NODE_NAME,
            "queue": str(PACKET_QUEUE),
        },
    }
    made = {
        name: ProcessSpec(
            name,
            (str(programs[name]), *(f"--{option}={value}" for option, value in values.items())),
        )
        for name, values in options.items()
    }
    made["volumes"] = ProcessSpec("volumes", make_own_command("volumes", layout))
    return [
        made[name]
        for name in (*FIRST_PROCESSES, *(name for name in made if name not in FIRST_PROCESSES))
    ]


def read_processes(layout: Layout) -> dict[str, ProcessSpec]:
    """Read the table from the state folder; return {} before the first start."""
    found = files.read_json(layout.processes) or []
    return {process.name: process for process in map(ProcessSpec.from_json, found)}


def make_own_command(verb: str, layout: Layout) -> tuple[str, ...]:
    """Make the argument list of a bare-cluster command, run by the same Python."""
    return (sys.executable, str(TOOLS / "bare-cluster"), verb, f"--state={layout.state}")


def _make_etcd_options(layout: Layout) -> dict[str, str]:
    url, pki = "https://127.0.0.1:2379", layout.certificates
    return {
        "name": NODE_NAME,
        "data-dir": "/var/lib/etcd",
        "listen-client-urls": url,
        "advertise-client-urls": url,
        "listen-peer-urls": "http://127.0.0.1:2380",
        "cert-file": f"{pki}/etcd-server.crt",
        "key-file": f"{pki}/etcd-server.key",
        "trusted-ca-file": f"{pki}/etcd-ca.crt",
        "client-cert-auth": "true",
        "quota-backend-bytes": str(4 * 1024**3),
        "log-level": "warn",
    }


def _make_api_server_options(
    layout: Layout, network: Network, audit_log: Path | None
) -> dict[str, str]:
    pki = layout.certificates
    options = {
        "bind-address": str(network.node),
        "advertise-address": str(network.node),
        "secure-port": "6443",
        "tls-cert-file": f"{pki}/kube-apiserver.crt",
        "tls-private-key-file": f"{pki}/kube-apiserver.key",
        "client-ca-file": f"{pki}/ca.crt",
        "etcd-servers": "https://127.0.0.1:2379",
        "etcd-cafile": f"{pki}/etcd-ca.crt",
        "etcd-certfile": f"{pki}/apiserver-to-etcd.crt",
        "etcd-keyfile": f"{pki}/apiserver-to-etcd.key",
        "kubelet-certificate-authority": f"{pki}/ca.crt",
        "kubelet-client-certificate": f"{pki}/apiserver-to-kubelet.crt",
        "kubelet-client-key": f"{pki}/apiserver-to-kubelet.key",
        "kubelet-preferred-address-types": "InternalIP",
        "service-cluster-ip-range": str(network.services),
        "service-account-issuer": f"https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
        "service-account-key-file": f"{pki}/service-accounts.pub",
        "service-account-signing-key-file": f"{pki}/service-accounts.key",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "allow-privileged": "true",
        "profiling": "false",
    }
    if audit_log is not None:
        options |= {
            "audit-policy-file": f"{layout.configuration}/audit-policy.json",
            "audit-log-path": str(audit_log),
            "audit-log-maxsize": "1024",
            "audit-log-maxbackup": "2",
        }
    return options


def _make_controller_manager_options(layout: Layout, network: Network) -> dict[str, str]:
    pki, kubeconfig = (
        layout.certificates,
        f"{layout.configuration}/kube-controller-manager.kubeconfig",
    )
    return {
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "bind-address": "127.0.0.1",
        "leader-elect": "false",
        "use-service-account-credentials": "true",
        "service-account-private-key-file": f"{pki}/service-accounts.key",
        "root-ca-file": f"{pki}/ca.crt",
        "cluster-signing-cert-file": f"{pki}/ca.crt",
        "cluster-signing-key-file": f"{pki}/ca.key",
        "service-cluster-ip-range": str(network.services),
        "concurrent-namespace-syncs": "30",
        "concurrent-deployment-syncs": "20",
        "concurrent-statefulset-syncs": "20",
        "concurrent-endpoint-syncs": "20",
        "concurrent-service-endpoint-syncs": "20",
        "profiling": "false",
        **API_CLIENT_RATE_OPTIONS,
    }


def _make_scheduler_options(layout: Layout) -> dict[str, str]:
    kubeconfig = f"{layout.configuration}/kube-scheduler.kubeconfig"
    return {
        "config": f"{layout.configuration}/kube-scheduler.json",
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "bind-address": "127.0.0.1",
    }
