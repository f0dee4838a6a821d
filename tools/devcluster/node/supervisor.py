"""The supervisor: the node's first process, which starts, restarts and stops all others.

Commands reach it through control.py. When it ends, the kernel ends everything in its namespaces.
"""

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

from tools.devcluster.errors import ClusterError
from tools.devcluster.layout import Layout, Network
from tools.devcluster.node import control, node
from tools.devcluster.node.process_table import ProcessSpec, read_processes
from tools.devcluster.programs import debian

MIN_BACKOFF_S, MAX_BACKOFF_S = 0.2, 10.0
STEADY_AFTER_S = 30.0
STOP_GRACE_S = 10.0
#: The API server waits for its watchers to disconnect, and has no state that could be lost.
STOP_GRACE_EXCEPTIONS_S = {"kube-apiserver": 0.5}
SHUTDOWN_GRACE_S = 8.0
LOG_LIMIT_BYTES = 32 * 1024 * 1024
POLL_INTERVAL_S, SHUTDOWN_POLL_INTERVAL_S = 0.5, 0.05
ROTATION_INTERVAL_S = 30.0


@dataclass
class SupervisedProcess:
    """The desired and the actual state of a process."""

    process: ProcessSpec
    wanted: bool = False
    pid: int | None = None
    started_at: float = 0.0
    restarts: int = 0
    message: str = ""
    start_at: float = 0.0
    kill_at: float | None = None
    backoff_s: float = MIN_BACKOFF_S

    def make_status(self) -> control.ProcessStatus:
        """Make the status that `bare-cluster status` shows."""
        return control.ProcessStatus(
            self.process.name,
            self._get_state(),
            self.pid,
            self.started_at,
            self.restarts,
            self.message,
        )

    def _get_state(self) -> control.ProcessState:
        if self.pid is not None:
            return "running" if self.wanted else "stopping"
        return "waiting" if self.wanted else "stopped"


class Supervisor:
    """The children and the event loop that keeps them in their desired state."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._children: dict[str, SupervisedProcess] = {}
        self._selector = selectors.DefaultSelector()
        self._shutdown_deadline: float | None = None
        self._next_rotation = 0.0
        self._environment = {
            "PATH": f"{layout.programs}:{debian.ADMIN_PATH}",
            "HOME": "/root",
            "TMPDIR": "/run",
            "LANG": "C.UTF-8",
        }

    def run(self) -> None:
        """Serve commands and supervise children until SIGTERM, then stop everything."""
        listener = control.open_listener(self._layout.state)
        self._selector.register(listener, selectors.EVENT_READ, self._handle_connection)
        self._selector.register(
            self._create_signal_socket(), selectors.EVENT_READ, self._drain_signals
        )
        while not self._is_finished():
            is_running = self._shutdown_deadline is None
            interval = POLL_INTERVAL_S if is_running else SHUTDOWN_POLL_INTERVAL_S
            for key, _ in self._selector.select(interval):
                key.data(key.fileobj)
            self._reap_processes()
            self._reconcile_children()
            self._rotate_logs()

    def _create_signal_socket(self) -> socket.socket:
        """Create a socket that wakes the loop on every signal."""
        reading, writing = socket.socketpair()
        for end in (reading, writing):
            end.setblocking(False)
        signal.set_wakeup_fd(writing.fileno())
        self._waker = writing
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._begin_shutdown())
        return reading

    def _drain_signals(self, waker: socket.socket) -> None:
        waker.recv(4096)

    def _begin_shutdown(self) -> None:
        """Send SIGTERM to everything in the node; the rest is killed after SHUTDOWN_GRACE_S."""
        if self._shutdown_deadline is None:
            self._shutdown_deadline = time.monotonic() + SHUTDOWN_GRACE_S
            for child in self._children.values():
                child.wanted = False
                child.kill_at = compute_kill_time(child)
            os.kill(-1, signal.SIGTERM)

    def _is_finished(self) -> bool:
        if self._shutdown_deadline is None:
            return False
        return is_alone() or time.monotonic() > self._shutdown_deadline

    def _handle_connection(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(2)
            try:
                received = control.read_line(connection)
                if not received:
                    return  # a check whether the supervisor listens
                request = json.loads(received)
                answer = self._execute_command(request["verb"], request["names"])
                connection.sendall(json.dumps(answer).encode() + b"\n")
            except (OSError, ValueError, KeyError) as error:
                log_message(f"A command could not be read or answered: {error}")

    def _execute_command(self, verb: str, names: Sequence[str]) -> dict[str, object]:
        try:
            known = read_processes(self._layout)
            unknown = [name for name in names if name not in known]
            if unknown:
                raise ClusterError(
                    f"Unknown process {', '.join(unknown)}. Known are {', '.join(known)}."
                )
            for name in names:
                self._set_wanted(known[name], running=verb == "start")
        except ClusterError as error:
            return {"error": str(error)}
        self._reconcile_children()
        return {"processes": [child.make_status().as_json() for child in self._children.values()]}

    def _set_wanted(self, process: ProcessSpec, *, running: bool) -> None:
        """Set the desired state; a running process keeps its arguments until its next start."""
        child = self._children.setdefault(process.name, SupervisedProcess(process))
        child.process = process
        if child.wanted == running:
            return
        child.wanted, child.start_at, child.backoff_s = running, 0.0, MIN_BACKOFF_S
        if not running and child.pid is not None:
            os.kill(child.pid, signal.SIGTERM)
            child.kill_at = compute_kill_time(child)

    def _reap_processes(self) -> None:
        """Reap ended children, and orphans that the kernel reparented to this process."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in self._children.values():
                if child.pid == pid:
                    self._record_exit(child, os.waitstatus_to_exitcode(status))

    def _record_exit(self, child: SupervisedProcess, code: int) -> None:
        now = time.monotonic()
        ran = time.time() - child.started_at
        child.pid, child.kill_at = None, None
        if not child.wanted:
            child.message = ""
            return
        child.restarts += 1
        child.message = (
            f"ended with {code}" if code >= 0 else f"ended by {signal.Signals(-code).name}"
        )
        child.backoff_s = (
            MIN_BACKOFF_S if ran > STEADY_AFTER_S else min(child.backoff_s * 2, MAX_BACKOFF_S)
        )
        child.start_at = now + child.backoff_s
        log_message(
            f"{child.process.name} {child.message} after {ran:.0f} s; "
            f"restart in {child.backoff_s:.1f} s"
        )

    def _reconcile_children(self) -> None:
        now = time.monotonic()
        for child in self._children.values():
            if (
                child.wanted
                and child.pid is None
                and now >= child.start_at
                and self._shutdown_deadline is None
            ):
                self._start_child(child)
            elif child.pid is not None and child.kill_at is not None and now > child.kill_at:
                os.kill(child.pid, signal.SIGKILL)

    def _start_child(self, child: SupervisedProcess) -> None:
        command = child.process.command
        log = self._layout.logs / f"{child.process.name}.log"
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        child.started_at = time.time()
        try:
            child.pid = os.posix_spawn(
                command[0], command, self._environment, file_actions=actions, setsid=True
            )
        except OSError as error:
            child.message = f"{command[0]}: {error.strerror}"
            child.start_at = time.monotonic() + MAX_BACKOFF_S

    def _rotate_logs(self) -> None:
        """Copy a log that exceeds its limit to `….log.1` and truncate it."""
        if time.monotonic() < self._next_rotation:
            return
        self._next_rotation = time.monotonic() + ROTATION_INTERVAL_S
        for log in self._layout.logs.glob("*.log"):
            if log.stat().st_size > LOG_LIMIT_BYTES and log.name != "audit.log":
                shutil.copyfile(log, log.with_suffix(".log.1"))
                os.truncate(log, 0)


def compute_kill_time(child: SupervisedProcess) -> float:
    """Return the monotonic time at which a stopping process is killed."""
    return time.monotonic() + STOP_GRACE_EXCEPTIONS_S.get(child.process.name, STOP_GRACE_S)


def is_alone() -> bool:
    """Return whether no other process runs in the node, neither a child nor one of a pod."""
    return not any(entry.name.isdigit() and entry.name != "1" for entry in os.scandir("/proc"))


def run_node(layout: Layout, network: Network) -> None:
    """Set up the node and supervise its processes until SIGTERM."""
    if os.getpid() != 1:
        raise ClusterError(
            "`bare-cluster supervise` must be the first process of its namespaces. "
            "Only `bare-cluster up` runs it."
        )
    # The first process of a PID namespace ignores signals without a handler; the loop sets its own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended before the node was ready"))
    os.umask(0o022)
    os.chdir("/")
    node.prepare_node(layout, network)
    Supervisor(layout).run()


def log_message(text: str) -> None:
    """Write a line with a timestamp to standard error, which is supervisor.log."""
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}", file=sys.stderr, flush=True)
