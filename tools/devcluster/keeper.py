"""The first process of the node: starts what it is told to, again when it dies, and takes all down with it."""

import json
import os
import selectors
import shutil
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tools.devcluster import control, debian, node
from tools.devcluster.errors import ClusterError
from tools.devcluster.layout import Layout, Network
from tools.devcluster.programs import Process, read_processes

BACKOFF_FIRST, BACKOFF_MOST = 0.2, 10.0
STEADY_AFTER = 30.0
STOP_PATIENCE = 10.0
#: It would wait for its watchers to leave, and keeps nothing that could be lost.
HASTY = {"kube-apiserver": 0.5}
END_PATIENCE = 8.0
LOG_LIMIT = 32 * 1024 * 1024
TICK, TICK_ENDING = 0.5, 0.05
LOOK_AT_LOGS = 30.0


@dataclass
class Child:
    """A process as it is wanted and as it is."""

    process: Process
    wanted: bool = False
    pid: int | None = None
    since: float = 0.0
    restarts: int = 0
    message: str = ""
    start_at: float = 0.0
    kill_at: float | None = None
    backoff: float = BACKOFF_FIRST

    def seen(self) -> control.Seen:
        return control.Seen(
            self.process.name, self._state(), self.pid, self.since, self.restarts, self.message
        )

    def _state(self) -> control.State:
        if self.pid is not None:
            return "running" if self.wanted else "stopping"
        return "waiting" if self.wanted else "stopped"


class Keeper:
    """All children, and the loop that looks after them."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._children: dict[str, Child] = {}
        self._selector = selectors.DefaultSelector()
        self._ending: float | None = None
        self._logs_at = 0.0
        self._environment = {
            "PATH": f"{layout.programs}:{debian.ADMIN_PATH}",
            "HOME": "/root",
            "TMPDIR": "/run",
            "LANG": "C.UTF-8",
        }

    def run(self) -> None:
        listener = control.listen(self._layout.state)
        self._selector.register(listener, selectors.EVENT_READ, self._answer)
        self._selector.register(self._signals(), selectors.EVENT_READ, self._drain)
        while not self._over():
            for key, _ in self._selector.select(TICK if self._ending is None else TICK_ENDING):
                key.data(key.fileobj)
            self._reap()
            self._look_after_children()
            self._look_at_logs()

    def _signals(self) -> socket.socket:
        """A socket that wakes the loop on every signal."""
        reading, writing = socket.socketpair()
        for end in (reading, writing):
            end.setblocking(False)
        signal.set_wakeup_fd(writing.fileno())
        self._waker = writing
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._end())
        return reading

    def _drain(self, waker: socket.socket) -> None:
        waker.recv(4096)

    def _end(self) -> None:
        """Asks everything in the node to end; what does not in time ends with us."""
        if self._ending is None:
            self._ending = time.monotonic() + END_PATIENCE
            for child in self._children.values():
                child.wanted = False
                child.kill_at = patience_end(child)
            os.kill(-1, signal.SIGTERM)

    def _over(self) -> bool:
        if self._ending is None:
            return False
        return is_alone() or time.monotonic() > self._ending

    def _answer(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(2)
            try:
                received = control.read_line(connection)
                if not received:
                    return  # somebody looked whether we are here
                request = json.loads(received)
                answer = self._obey(request["verb"], request["names"])
                connection.sendall(json.dumps(answer).encode() + b"\n")
            except (OSError, ValueError, KeyError) as error:
                say(f"a command could not be read or answered: {error}")

    def _obey(self, verb: str, names: Sequence[str]) -> dict[str, object]:
        try:
            known = read_processes(self._layout)
            unknown = [name for name in names if name not in known]
            if unknown:
                raise ClusterError(
                    f"There is no process {', '.join(unknown)}; there are {', '.join(known)}."
                )
            for name in names:
                self._want(known[name], running=verb == "start")
        except ClusterError as error:
            return {"error": str(error)}
        self._look_after_children()
        return {"processes": [child.seen().as_json() for child in self._children.values()]}

    def _want(self, process: Process, *, running: bool) -> None:
        """A running process keeps its arguments until it starts again."""
        child = self._children.setdefault(process.name, Child(process))
        child.process = process
        if child.wanted == running:
            return
        child.wanted, child.start_at, child.backoff = running, 0.0, BACKOFF_FIRST
        if not running and child.pid is not None:
            os.kill(child.pid, signal.SIGTERM)
            child.kill_at = patience_end(child)

    def _reap(self) -> None:
        """Of all that ended: our children, and what theirs left to us."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in self._children.values():
                if child.pid == pid:
                    self._ended(child, os.waitstatus_to_exitcode(status))

    def _ended(self, child: Child, code: int) -> None:
        now = time.monotonic()
        ran = time.time() - child.since
        child.pid, child.kill_at = None, None
        if not child.wanted:
            child.message = ""
            return
        child.restarts += 1
        child.message = (
            f"ended with {code}" if code >= 0 else f"ended by {signal.Signals(-code).name}"
        )
        child.backoff = (
            BACKOFF_FIRST if ran > STEADY_AFTER else min(child.backoff * 2, BACKOFF_MOST)
        )
        child.start_at = now + child.backoff
        say(
            f"{child.process.name} {child.message} after {ran:.0f} s; again in {child.backoff:.1f} s"
        )

    def _look_after_children(self) -> None:
        now = time.monotonic()
        for child in self._children.values():
            if (
                child.wanted
                and child.pid is None
                and now >= child.start_at
                and self._ending is None
            ):
                self._start(child)
            elif child.pid is not None and child.kill_at is not None and now > child.kill_at:
                os.kill(child.pid, signal.SIGKILL)

    def _start(self, child: Child) -> None:
        command = child.process.command
        log = self._layout.logs / f"{child.process.name}.log"
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        child.since = time.time()
        try:
            child.pid = os.posix_spawn(
                command[0], command, self._environment, file_actions=actions, setsid=True
            )
        except OSError as error:
            child.message = f"{command[0]}: {error.strerror}"
            child.start_at = time.monotonic() + BACKOFF_MOST

    def _look_at_logs(self) -> None:
        """Halves of a log that grows past its limit: what is there is moved aside, the file begins anew."""
        if time.monotonic() < self._logs_at:
            return
        self._logs_at = time.monotonic() + LOOK_AT_LOGS
        for log in self._layout.logs.glob("*.log"):
            if log.stat().st_size > LOG_LIMIT and log.name != "audit.log":
                shutil.copyfile(log, log.with_suffix(".log.1"))
                os.truncate(log, 0)


def patience_end(child: Child) -> float:
    return time.monotonic() + HASTY.get(child.process.name, STOP_PATIENCE)


def is_alone() -> bool:
    """Whether nothing else runs in the node: no child, and nothing of a pod either."""
    return not any(entry.name.isdigit() and entry.name != "1" for entry in os.scandir("/proc"))


def keep(layout: Layout, network: Network) -> None:
    """Becomes the node, until told to end."""
    if os.getpid() != 1:
        raise ClusterError(
            "`keep` is for `bare-cluster up` alone: it has to be the first process of its namespaces."
        )
    # Before there is a loop to end: the first process of a namespace ignores what it does not ask for.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended before the node was ready"))
    os.umask(0o022)
    os.chdir("/")
    node.prepare(layout, network)
    Keeper(layout).run()


def say(text: str) -> None:
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}", file=sys.stderr, flush=True)
