"""Check a cluster: its processes, API server, node and name server, with problems in words."""

import time
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from tools.devcluster import files, settings
from tools.devcluster.errors import ClusterError
from tools.devcluster.kubernetes.api import ApiClient, ApiError
from tools.devcluster.layout import NODE_NAME, Layout, Network
from tools.devcluster.node import control, dns, processes
from tools.devcluster.node.process_table import read_processes

NODE_PATH = f"/api/v1/nodes/{NODE_NAME}"


@dataclass
class ClusterStatus:
    """The result of a check; healthy without problems."""

    state: str
    kubeconfig: str
    server: str = ""
    up: bool = False
    node: str = "absent"
    processes: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the fields and `healthy` as a JSON object."""
        return asdict(self) | {"healthy": self.is_healthy}

    @property
    def is_healthy(self) -> bool:
        """Whether the cluster runs and no check found a problem."""
        return self.up and not self.problems


def read_status(layout: Layout) -> ClusterStatus:
    """Check the cluster; every problem names its next step where there is one."""
    status = ClusterStatus(state=str(layout.state), kubeconfig=str(layout.kubeconfig))
    node = processes.find_node_process(layout.state)
    if node is None:
        status.problems.append("The cluster is not running. Start it with `bare-cluster up`.")
        return status
    status.up = True
    network = settings.read_settings(layout).network
    status.server = network.api_url
    try:
        _check_processes(layout, node, status)
    except ClusterError as error:
        status.problems.append(str(error))
    _check_api(layout, network, status)
    if not dns.is_api_name_resolved(network):
        status.problems.append(
            f"The name server at {network.node} does not resolve {dns.API_NAME}. See coredns.log."
        )
    return status


def _check_processes(
    layout: Layout, node: processes.ProcessIdentity, status: ClusterStatus
) -> None:
    current = {process.name: process for process in control.send_command(layout.state, "list")}
    host_pids = processes.map_host_pids(node)
    for name in read_processes(layout):
        process = current.get(name, control.ProcessStatus(name, "stopped", None, 0.0, 0, ""))
        host_pid = host_pids.get(process.pid or 0)
        status.processes.append(process.as_json() | {"pid": host_pid})
        if process.state == "running":
            continue
        log = layout.logs / f"{name}.log"
        reason = f" {process.message}: {files.read_last_line(log)}" if process.message else ""
        step = f"See {log}." if process.message else f"`bare-cluster start {name}` starts it."
        status.problems.append(f"{name} is {process.state}.{reason} {step}")


def _check_api(layout: Layout, network: Network, status: ClusterStatus) -> None:
    try:
        api = ApiClient(network, certificates=layout.certificates, user="admin")
        api.get_text("/readyz", timeout_s=3)
        status.node = describe_node_condition(api.get(NODE_PATH, timeout_s=3))
    except (ApiError, OSError) as error:
        status.problems.append(f"The API server does not answer: {error}")
        return
    if status.node != "Ready":
        status.problems.append(f"The node is not ready: {status.node}")


def describe_node_condition(node: dict[str, Any]) -> str:
    """Return `Ready`, or the reason why the node is not ready."""
    for condition in _list_conditions(node):
        if condition["type"] == "Ready":
            if condition["status"] == "True":
                return "Ready"
            return f"{condition.get('reason', condition['status'])}: {condition.get('message', '')}"
    return "the kubelet has not reported yet"


def format_status(status: ClusterStatus) -> str:
    """Format a status as text for a terminal."""
    lines = [f"state       {status.state}", f"kubeconfig  {status.kubeconfig}"]
    if status.up:
        lines += [f"server      {status.server}", f"node        {status.node}", ""]
    for process in status.processes:
        age_s = time.time() - process["since"]
        since = f"for {age_s:.0f} s" if process["state"] == "running" else ""
        restarts = f"{process['restarts']} restarts" if process["restarts"] else ""
        words = (
            f"{process['name']:24}",
            f"{process['state']:8}",
            str(process["pid"] or ""),
            since,
            restarts,
        )
        lines.append("  ".join(filter(None, words)))
    if status.problems:
        lines += ["", *(f"! {problem}" for problem in status.problems)]
    return "\n".join(lines)


def is_node_ready(api: ApiClient, *, since: float) -> bool:
    """Return whether the node is ready and sent a heartbeat since the Unix time `since`.

    The condition of an earlier run may still be stored, so readiness alone is not enough.
    """
    try:
        node = api.get(NODE_PATH)
    except ApiError:
        return False
    heartbeats = [
        _parse_timestamp(one["lastHeartbeatTime"])
        for one in _list_conditions(node)
        if one["type"] == "Ready"
    ]
    return describe_node_condition(node) == "Ready" and max(heartbeats, default=0.0) >= int(since)


def _parse_timestamp(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def _list_conditions(node: dict[str, Any]) -> list[dict[str, Any]]:
    return list(node.get("status", {}).get("conditions", []))
