"""The protocol between bare-cluster commands and the node's supervisor.

A Unix socket in the state folder carries one JSON line as request and one as response.
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tools.devcluster.errors import ClusterError

SOCKET_NAME = "control.sock"
LINE_LIMIT_BYTES = 1024 * 1024
TIMEOUT_S = 10.0
ProcessState = Literal["running", "stopping", "stopped", "waiting"]


@dataclass(frozen=True)
class ProcessStatus:
    """The state of a process; a `waiting` process is restarted after its backoff."""

    name: str
    state: ProcessState
    pid: int | None
    since: float
    restarts: int
    message: str

    def as_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)


@contextmanager
def open_short_path(state: Path) -> Iterator[str]:
    """Open a short path to the socket: its path may have 107 bytes, the folder's can be longer."""
    folder = os.open(state, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{SOCKET_NAME}"
    finally:
        os.close(folder)


def open_listener(state: Path) -> socket.socket:
    """Open the supervisor's socket, accessible to root only."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with open_short_path(state) as path:
        (state / SOCKET_NAME).unlink(missing_ok=True)
        listener.bind(path)
    (state / SOCKET_NAME).chmod(0o600)
    listener.listen(16)
    listener.setblocking(False)
    return listener


def is_listening(state: Path) -> bool:
    """Return whether a supervisor accepts connections, even if it is busy."""
    try:
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection,
            open_short_path(state) as path,
        ):
            connection.settimeout(TIMEOUT_S)
            connection.connect(path)
    except OSError:
        return False
    return True


def send_command(state: Path, verb: str, names: tuple[str, ...] = ()) -> list[ProcessStatus]:
    """Send `start`, `stop` or `list` with process names; return the state of every process."""
    try:
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection,
            open_short_path(state) as path,
        ):
            connection.settimeout(TIMEOUT_S)
            connection.connect(path)
            connection.sendall(json.dumps({"verb": verb, "names": names}).encode() + b"\n")
            answer = json.loads(read_line(connection))
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"The node's supervisor does not answer ({error}). See {state}/logs/supervisor.log, or "
            "run `bare-cluster down`."
        ) from error
    if "error" in answer:
        raise ClusterError(answer["error"])
    return [ProcessStatus(**process) for process in answer["processes"]]


def read_line(connection: socket.socket) -> bytes:
    """Read one line; it ends early when the peer closes the connection."""
    received = b""
    while not received.endswith(b"\n") and len(received) < LINE_LIMIT_BYTES:
        part = connection.recv(65536)
        if not part:
            break
        received += part
    return received
