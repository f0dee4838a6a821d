"""The supervisor of the local node: start children, restart them when they end, stop them in order.

Each child has a session, a log file and a process record of its own.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from storefleet.node.node_error import NodeError
from storefleet.node.processes import sandbox
from storefleet.node.processes.launcher import ChildProcess, launch_child, read_last_line
from storefleet.node.processes.process_records import ProcessIdentity, make_record_path, send_signal

ChildState = Literal["starting", "running", "waiting", "stopped"]
LOG_LIMIT_BYTES = 10 * 1024 * 1024
FIRST_BACKOFF_S = 0.1
#: A child that has run for longer is restarted after the first backoff again.
STABLE_AFTER_S = 10.0


@dataclass
class ChildStatus:
    """The observed status of a child.

    Attributes:
        state: `waiting` is the backoff before a restart.
        pid: The process id while it runs.
        restarts: The number of unexpected ends since the first start.
        message: Why the child ended the last time.
    """

    state: ChildState = "starting"
    pid: int | None = None
    restarts: int = 0
    message: str = ""


class _SupervisedChild:
    """One child and the task that restarts it until it is stopped."""

    def __init__(
        self,
        child: ChildProcess,
        *,
        records_dir: Path,
        on_status_change: Callable[[str], None],
        max_backoff_s: float,
    ) -> None:
        self.child = child
        self._max_backoff_s = max_backoff_s
        self.status = ChildStatus()
        self._records_dir = records_dir
        self._on_status_change = on_status_change
        self._identity: ProcessIdentity | None = None
        self._stopping = asyncio.Event()
        self.task = asyncio.create_task(self._restart_until_stopped(), name=f"child {child.name}")

    async def stop(self) -> None:
        self._stopping.set()
        for number, grace_period_s in (*self.child.stop_signals, (signal.SIGKILL, 5.0)):
            self.send_signal(number)
            done, _ = await asyncio.wait({self.task}, timeout=grace_period_s)
            if done:
                break
        await self.task

    def send_signal(self, number: int) -> None:
        if self._identity is not None:
            send_signal(self._identity, number)

    async def _restart_until_stopped(self) -> None:
        delay_s = FIRST_BACKOFF_S
        while not self._stopping.is_set():
            started_s = time.monotonic()
            reason = await self._run_once()
            if self._stopping.is_set():
                break
            is_stable = time.monotonic() - started_s > STABLE_AFTER_S
            delay_s = FIRST_BACKOFF_S if is_stable else delay_s
            self.status.restarts += 1
            self._set_status("waiting", message=reason)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay_s)
            delay_s = min(delay_s * 2, self._max_backoff_s)
        self._set_status("stopped")

    async def _run_once(self) -> str:
        """Start the program, wait for its end, and return the reason why it ended."""
        self._set_status("starting", message=self.status.message)
        try:
            if self.child.prepare is not None:
                await self.child.prepare()
            running = launch_child(self.child, records_dir=self._records_dir)
        except (OSError, NodeError) as error:
            return f"cannot be started: {error}"
        self._identity = running.identity
        if self._stopping.is_set():
            # stopped while it was being started
            self.send_signal(self.child.stop_signals[0][0])
        self._set_status("running", pid=running.identity.pid)
        code = await running.wait_until_ended()
        self._identity = None
        make_record_path(self._records_dir, self.child.name).unlink(missing_ok=True)
        if code == sandbox.SANDBOX_EXIT_CODE:  # the program did not start; the log has why
            return read_last_line(self.child.log_file)
        return (
            f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        )

    def _set_status(self, state: ChildState, *, pid: int | None = None, message: str = "") -> None:
        self.status.state, self.status.pid, self.status.message = state, pid, message
        self._on_status_change(self.child.name)


class Supervisor:
    """Runs child processes until they are stopped."""

    def __init__(
        self,
        *,
        records_dir: Path,
        on_status_change: Callable[[str], None] = lambda _name: None,
        max_backoff_s: float = 5.0,
    ) -> None:
        """Prepare a supervisor without children.

        Args:
            records_dir: The folder of the process records.
            on_status_change: Called with a child's name when its status changes.
            max_backoff_s: The longest pause before a restart, in seconds.
        """
        self._max_backoff_s = max_backoff_s
        self._records_dir = records_dir
        self._on_status_change = on_status_change
        self._children: dict[str, _SupervisedChild] = {}

    def start(self, child: ChildProcess) -> None:
        """Start a child, and restart it whenever it ends.

        Raises:
            ValueError: A child of this name is supervised already.
        """
        if child.name in self._children:
            raise ValueError(f"A child named {child.name} is supervised already.")
        self._children[child.name] = _SupervisedChild(
            child,
            records_dir=self._records_dir,
            on_status_change=self._on_status_change,
            max_backoff_s=self._max_backoff_s,
        )

    async def stop(self, name: str) -> None:
        """Stop a child and remove it; nothing happens if there is no such child."""
        supervised = self._children.get(name)
        if supervised is not None:
            await supervised.stop()
            self._children.pop(name, None)

    async def stop_all(self, *, min_rank: int = 0) -> None:
        """Stop all children from a rank upwards, the highest rank first, each rank concurrently."""
        children = [supervised.child for supervised in self._children.values()]
        ranks = {child.rank for child in children if child.rank >= min_rank}
        for rank in sorted(ranks, reverse=True):
            names = [child.name for child in children if child.rank == rank]
            await asyncio.gather(*(self.stop(name) for name in names))

    def get_status(self, name: str) -> ChildStatus | None:
        """Return the status of a child; None if there is no such child."""
        supervised = self._children.get(name)
        return supervised.status if supervised else None

    async def watch_children(self) -> None:
        """Trim the logs and check the children's tasks every five seconds, until cancelled.

        An unexpected error of a child's task is raised here.
        """
        while True:
            tasks = [
                supervised.task
                for supervised in self._children.values()
                if supervised.task.done() and not supervised.task.cancelled()
            ]
            for task in tasks:
                task.result()
            await asyncio.to_thread(
                trim_logs, {supervised.child.log_file for supervised in self._children.values()}
            )
            await asyncio.sleep(5)


def trim_logs(log_files: Iterable[Path], limit_bytes: int = LOG_LIMIT_BYTES) -> None:
    """Move the content of every log above the limit to one older file, and truncate the log.

    The writers append, so they continue in the truncated file.

    Args:
        log_files: The logs; missing ones are skipped.
        limit_bytes: The size from which a log is moved.
    """
    for log in log_files:
        with contextlib.suppress(OSError):
            if log.stat().st_size > limit_bytes:
                shutil.copyfile(log, log.with_name(f"{log.name}.1"))
                os.truncate(log, 0)
