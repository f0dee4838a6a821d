"""Start, find and end the node's first process, the supervisor, from outside the node.

Processes of a cluster are found by a variable in their environment, so there is no record of
process ids that could be lost or outdated.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.devcluster import files
from tools.devcluster.errors import ClusterError
from tools.devcluster.layout import Layout
from tools.devcluster.node.process_table import make_own_command
from tools.devcluster.waiting import wait_until

TAG_VARIABLE = "STOREFLEET_BARE_CLUSTER"
STOP_GRACE_S, TIMEOUT_S = 20.0, 15.0
_NAMESPACES = ("--pid", "--mount", "--net", "--uts", "--ipc")


@dataclass(frozen=True)
class ProcessIdentity:
    """A process id with its start time, which distinguishes later processes with that id."""

    pid: int
    started: str

    @property
    def is_alive(self) -> bool:
        """Whether exactly this process still exists."""
        return read_identity(self.pid) == self


def read_identity(pid: int) -> ProcessIdentity | None:
    """Read the identity of a process; return None when it is gone or a zombie."""
    try:
        fields = (
            Path(f"/proc/{pid}/stat")
            .read_text(encoding="utf-8", errors="replace")
            .rpartition(")")[2]
            .split()
        )
    except OSError:
        return None
    return None if fields[0] in "ZX" else ProcessIdentity(pid, fields[19])


def find_tagged_processes(state: Path) -> list[ProcessIdentity]:
    """Find the processes with this cluster's variable: helpers outside and the supervisor inside.

    The supervisor does not pass the variable on to its children.
    """
    tag = os.fsencode(f"{TAG_VARIABLE}={state}")
    found = []
    for pid in _list_pids():
        with contextlib.suppress(OSError):
            if tag in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(read_identity(pid))
    return [identity for identity in found if identity is not None]


def find_node_process(state: Path) -> ProcessIdentity | None:
    """Find the supervisor: the first process of its PID namespace."""
    for identity in find_tagged_processes(state):
        pids = read_namespace_pids(identity.pid)
        if len(pids) > 1 and pids[-1] == 1:
            return identity
    return None


def read_namespace_pids(pid: int) -> list[int]:
    """Read the ids of a process, from the outermost PID namespace inwards."""
    with contextlib.suppress(OSError):
        for line in (
            Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
        ):
            if line.startswith("NSpid:"):
                return [int(number) for number in line.split()[1:]]
    return []


def map_host_pids(node: ProcessIdentity) -> dict[int, int]:
    """Map the id inside the node to the id on the machine, for processes directly in the node."""
    space = _read_pid_namespace(node.pid)
    return {
        read_namespace_pids(pid)[-1]: pid
        for pid in _list_pids()
        if space and _read_pid_namespace(pid) == space and read_namespace_pids(pid)
    }


def _read_pid_namespace(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return None


def _list_pids() -> Iterator[int]:
    return (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit())


def start_node(layout: Layout) -> ProcessIdentity:
    """Start the supervisor in new namespaces; it waits for its network link."""
    command = [
        "unshare",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--propagation=private",
        *_NAMESPACES,
    ]
    environment = {**os.environ, TAG_VARIABLE: str(layout.state), "PYTHONDONTWRITEBYTECODE": "1"}
    log = layout.logs / "supervisor.log"
    with log.open("ab") as output:
        outer = subprocess.Popen(
            [*command, *make_own_command("supervise", layout)],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    found: list[ProcessIdentity] = []

    def has_appeared_or_ended() -> bool:
        found[:] = filter(None, [find_node_process(layout.state)])
        return bool(found) or outer.poll() is not None

    if not wait_until(has_appeared_or_ended, TIMEOUT_S) or not found:
        end_node(layout)
        raise ClusterError(
            f"The node's supervisor did not start: {files.read_last_line(log)} See {log}."
        )
    return found[0]


def end_node(layout: Layout) -> bool:
    """End every process of the cluster, with mounts and networks; return whether there was one."""
    node = find_node_process(layout.state)
    if node is not None:
        send_signal(node, signal.SIGTERM)
        wait_until(lambda: not node.is_alive, STOP_GRACE_S)
    left = find_tagged_processes(layout.state)
    for identity in left:
        send_signal(identity, signal.SIGKILL)
    # The kernel ends the first process of a namespace only after all others in it.
    if not wait_until(lambda: not any(identity.is_alive for identity in left), TIMEOUT_S):
        raise ClusterError(
            f"The processes {[identity.pid for identity in left]} did not end after SIGKILL. "
            "Run the command again."
        )
    return node is not None or bool(left)


def send_signal(identity: ProcessIdentity, number: signal.Signals) -> None:
    """Send a signal to exactly this process, never to a later one with its id."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(identity.pid)
        try:
            if identity.is_alive:
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)
