"""The node's first process: started in namespaces of its own, found again, and ended with all that is in them.

A cluster is found by what its processes carry in their environment, so no record of them can be lost or out of date.
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
from tools.devcluster.programs import make_own_command
from tools.devcluster.waiting import wait_until

TAG_VARIABLE = "STOREFLEET_BARE_CLUSTER"
STOP_GRACE_S, TIMEOUT_S = 20.0, 15.0
_NAMESPACES = ("--pid", "--mount", "--net", "--uts", "--ipc")


@dataclass(frozen=True)
class ProcessIdentity:
    """A process number and its start, so that a later process of that number is told apart."""

    pid: int
    started: str

    @property
    def is_alive(self) -> bool:
        return read_identity(self.pid) == self


def read_identity(pid: int) -> ProcessIdentity | None:
    """The process of that number; a zombie counts as gone."""
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
    """Processes of this cluster outside the node and its first process inside; children carry nothing."""
    wanted = os.fsencode(f"{TAG_VARIABLE}={state}")
    found = []
    for pid in _list_pids():
        with contextlib.suppress(OSError):
            if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(read_identity(pid))
    return [identity for identity in found if identity is not None]


def find_node_process(state: Path) -> ProcessIdentity | None:
    """The process that is the node: the first of its own process namespace."""
    for identity in find_tagged_processes(state):
        numbers = read_namespace_pids(identity.pid)
        if len(numbers) > 1 and numbers[-1] == 1:
            return identity
    return None


def read_namespace_pids(pid: int) -> list[int]:
    """A process's numbers, from the outermost namespace inwards."""
    with contextlib.suppress(OSError):
        for line in (
            Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
        ):
            if line.startswith("NSpid:"):
                return [int(number) for number in line.split()[1:]]
    return []


def map_host_pids(node: ProcessIdentity) -> dict[int, int]:
    """For each process directly in the node: its number there → its number on the machine."""
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
    """The node's first process in fresh namespaces, waiting for its link."""
    command = [
        "unshare",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--propagation=private",
        *_NAMESPACES,
    ]
    environment = {**os.environ, TAG_VARIABLE: str(layout.state), "PYTHONDONTWRITEBYTECODE": "1"}
    log = layout.logs / "keeper.log"
    with log.open("ab") as output:
        outer = subprocess.Popen(
            [*command, *make_own_command("keep", layout)],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    found: list[ProcessIdentity] = []

    def appeared() -> bool:
        found[:] = filter(None, [find_node_process(layout.state)])
        return bool(found) or outer.poll() is not None

    if not wait_until(appeared, TIMEOUT_S) or not found:
        end_node(layout)
        raise ClusterError(
            f"The node's first process did not start: {files.read_last_line(log)} See {log}."
        )
    return found[0]


def end_node(layout: Layout) -> bool:
    """Ends every process of the cluster, and with the last one its mounts and networks; says whether there was one."""
    node = find_node_process(layout.state)
    if node is not None:
        send_signal(node, signal.SIGTERM)
        wait_until(lambda: not node.is_alive, STOP_GRACE_S)
    left = find_tagged_processes(layout.state)
    for identity in left:
        send_signal(identity, signal.SIGKILL)
    # The kernel ends a first process only after everything in its namespace.
    if not wait_until(lambda: not any(identity.is_alive for identity in left), TIMEOUT_S):
        raise ClusterError(
            f"Processes {[identity.pid for identity in left]} do not end even when killed. Try again."
        )
    return node is not None or bool(left)


def send_signal(identity: ProcessIdentity, number: signal.Signals) -> None:
    """Signals exactly this process."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(identity.pid)
        try:
            if identity.is_alive:
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)
