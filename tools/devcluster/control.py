"""What a command says to the node's first process: one JSON line each way, over a socket in the state folder."""

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
LIMIT = 1024 * 1024
TIMEOUT = 10.0
State = Literal["running", "stopping", "stopped", "waiting"]


@dataclass(frozen=True)
class Seen:
    """What is seen of a process: `waiting` will be started again soon."""

    name: str
    state: State
    pid: int | None
    since: float
    restarts: int
    message: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@contextmanager
def short_path(state: Path) -> Iterator[str]:
    """A socket's path may have 107 bytes only; a descriptor's name is short however deep the folder lies."""
    folder = os.open(state, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{SOCKET_NAME}"
    finally:
        os.close(folder)


def listen(state: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with short_path(state) as path:
        (state / SOCKET_NAME).unlink(missing_ok=True)
        listener.bind(path)
    (state / SOCKET_NAME).chmod(0o600)
    listener.listen(16)
    listener.setblocking(False)
    return listener


def listens(state: Path) -> bool:
    """Whether there is somebody to ask, however busy."""
    try:
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection,
            short_path(state) as path,
        ):
            connection.settimeout(TIMEOUT)
            connection.connect(path)
    except OSError:
        return False
    return True


def ask(state: Path, verb: str, names: tuple[str, ...] = ()) -> list[Seen]:
    """Says what is wanted; the answer is how every process is."""
    try:
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection,
            short_path(state) as path,
        ):
            connection.settimeout(TIMEOUT)
            connection.connect(path)
            connection.sendall(json.dumps({"verb": verb, "names": names}).encode() + b"\n")
            answer = json.loads(read_line(connection))
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"The node's first process is silent ({error}). See {state}/logs/keeper.log, or `bare-cluster down`."
        ) from error
    if "error" in answer:
        raise ClusterError(answer["error"])
    return [Seen(**seen) for seen in answer["processes"]]


def read_line(connection: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"\n") and len(received) < LIMIT:
        part = connection.recv(65536)
        if not part:
            break
        received += part
    return received
