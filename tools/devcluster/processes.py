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
from tools.devcluster.programs import own_command
from tools.devcluster.waiting import wait_until

TOKEN = "STOREFLEET_BARE_CLUSTER"
GRACE, PATIENCE = 20.0, 15.0
_NAMESPACES = ("--pid", "--mount", "--net", "--uts", "--ipc")


@dataclass(frozen=True)
class Identity:
    """A process number and its start, so that a later process of that number is told apart."""

    pid: int
    started: str

    @property
    def alive(self) -> bool:
        return identify(self.pid) == self


def identify(pid: int) -> Identity | None:
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
    return None if fields[0] in "ZX" else Identity(pid, fields[19])


def carriers(state: Path) -> list[Identity]:
    """Processes of this cluster outside the node and its first process inside; children carry nothing."""
    wanted = os.fsencode(f"{TOKEN}={state}")
    found = []
    for pid in _pids():
        with contextlib.suppress(OSError):
            if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(identify(pid))
    return [identity for identity in found if identity is not None]


def first_process(state: Path) -> Identity | None:
    """The process that is the node: the first of its own process namespace."""
    for identity in carriers(state):
        numbers = inner_pids(identity.pid)
        if len(numbers) > 1 and numbers[-1] == 1:
            return identity
    return None


def inner_pids(pid: int) -> list[int]:
    """A process's numbers, from the outermost namespace inwards."""
    with contextlib.suppress(OSError):
        for line in (
            Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
        ):
            if line.startswith("NSpid:"):
                return [int(number) for number in line.split()[1:]]
    return []


def outer_pids(node: Identity) -> dict[int, int]:
    """For each process directly in the node: its number there → its number on the machine."""
    space = _namespace(node.pid)
    return {
        inner_pids(pid)[-1]: pid
        for pid in _pids()
        if space and _namespace(pid) == space and inner_pids(pid)
    }


def _namespace(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return None


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit())


def start_node(layout: Layout) -> Identity:
    """The node's first process in fresh namespaces, waiting for its link."""
    command = [
        "unshare",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--propagation=private",
        *_NAMESPACES,
    ]
    environment = {**os.environ, TOKEN: str(layout.state), "PYTHONDONTWRITEBYTECODE": "1"}
    log = layout.logs / "keeper.log"
    with log.open("ab") as output:
        outer = subprocess.Popen(
            [*command, *own_command("keep", layout)],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    found: list[Identity] = []

    def appeared() -> bool:
        found[:] = filter(None, [first_process(layout.state)])
        return bool(found) or outer.poll() is not None

    if not wait_until(appeared, PATIENCE) or not found:
        end_node(layout)
        raise ClusterError(
            f"The node's first process did not start: {files.last_line(log)} See {log}."
        )
    return found[0]


def end_node(layout: Layout) -> bool:
    """Ends every process of the cluster, and with the last one its mounts and networks; says whether there was one."""
    node = first_process(layout.state)
    if node is not None:
        send(node, signal.SIGTERM)
        wait_until(lambda: not node.alive, GRACE)
    left = carriers(layout.state)
    for identity in left:
        send(identity, signal.SIGKILL)
    # The kernel ends a first process only after everything in its namespace.
    if not wait_until(lambda: not any(identity.alive for identity in left), PATIENCE):
        raise ClusterError(
            f"Processes {[identity.pid for identity in left]} do not end even when killed. Try again."
        )
    return node is not None or bool(left)


def send(identity: Identity, number: signal.Signals) -> None:
    """Signals exactly this process."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(identity.pid)
        try:
            if identity.alive:
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)
