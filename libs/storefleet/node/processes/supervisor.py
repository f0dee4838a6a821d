"""Children of the node: started, kept alive and stopped, each in a session of its own with a log and a record."""

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
FIRST_BACKOFF_S, STABLE_AFTER_S = 0.1, 10.0


@dataclass
class ChildStatus:
    """What is seen of a child. `restarts` counts unexpected ends since it was first started."""

    state: ChildState = "starting"
    pid: int | None = None
    changed_at_s: float = 0.0
    restarts: int = 0
    message: str = ""


class _SupervisedChild:
    """One child's life: a task that starts it again until it is told to stop."""

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
        for number, patience in (*self.child.stop_signals, (signal.SIGKILL, 5.0)):
            self.send_signal(number)
            done, _ = await asyncio.wait({self.task}, timeout=patience)
            if done:
                break
        await self.task

    def send_signal(self, number: int) -> None:
        if self._identity is not None:
            send_signal(self._identity, number)

    async def _restart_until_stopped(self) -> None:
        delay = FIRST_BACKOFF_S
        while not self._stopping.is_set():
            began = time.monotonic()
            reason = await self._run_once()
            if self._stopping.is_set():
                break
            delay = FIRST_BACKOFF_S if time.monotonic() - began > STABLE_AFTER_S else delay
            self.status.restarts += 1
            self._set_status("waiting", message=reason)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
            delay = min(delay * 2, self._max_backoff_s)
        self._set_status("stopped")

    async def _run_once(self) -> str:
        """Start the program and wait for its end; returns how it ended."""
        self._set_status("starting", message=self.status.message)
        try:
            if self.child.prepare is not None:
                await self.child.prepare()
            running = launch_child(self.child, records_dir=self._records_dir)
        except (OSError, NodeError) as error:
            return f"could not be started: {error}"
        self._identity = running.identity
        if self._stopping.is_set():
            self.send_signal(
                self.child.stop_signals[0][0]
            )  # told to stop while it was being started
        self._set_status("running", pid=running.identity.pid)
        code = await running.wait_until_ended()
        self._identity = None
        make_record_path(self._records_dir, self.child.name).unlink(missing_ok=True)
        if code == sandbox.SANDBOX_EXIT_CODE:
            return read_last_line(self.child.log_file)
        return (
            f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        )

    def _set_status(self, state: ChildState, *, pid: int | None = None, message: str = "") -> None:
        self.status.state, self.status.pid, self.status.message = state, pid, message
        self.status.changed_at_s = time.time()
        self._on_status_change(self.child.name)


class Supervisor:
    """Keeps children equal to what was asked for. `changed` is called with a name whenever its status differs."""

    def __init__(
        self,
        *,
        records_dir: Path,
        on_status_change: Callable[[str], None] = lambda _name: None,
        max_backoff_s: float = 5.0,
    ) -> None:
        """Take `backoff`: the longest pause before a child is started again, seconds."""
        self._max_backoff_s = max_backoff_s
        self._records_dir = records_dir
        self._on_status_change = on_status_change
        self._children: dict[str, _SupervisedChild] = {}

    def start(self, child: ChildProcess) -> None:
        """Begin to keep a child; one of the same name must have been stopped before."""
        if child.name in self._children:
            raise ValueError(f"{child.name} is kept already")
        self._children[child.name] = _SupervisedChild(
            child,
            records_dir=self._records_dir,
            on_status_change=self._on_status_change,
            max_backoff_s=self._max_backoff_s,
        )

    async def stop(self, name: str) -> None:
        """End a child and forget it; nothing happens when there is none."""
        kept = self._children.get(name)
        if kept is not None:
            await kept.stop()
            self._children.pop(name, None)

    async def stop_all(self, *, min_rank: int = 0) -> None:
        """End everything from this rank up, the highest rank first, those of one rank together."""
        ranks = {kept.child.rank for kept in self._children.values() if kept.child.rank >= min_rank}
        for rank in sorted(ranks, reverse=True):
            names = [name for name, kept in self._children.items() if kept.child.rank == rank]
            await asyncio.gather(*(self.stop(name) for name in names))

    def get_status(self, name: str) -> ChildStatus | None:
        kept = self._children.get(name)
        return kept.status if kept else None

    def get_child(self, name: str) -> ChildProcess | None:
        kept = self._children.get(name)
        return kept.child if kept else None

    def list_names(self) -> list[str]:
        return list(self._children)

    async def watch_children(self) -> None:
        """Keep the logs small, for as long as it runs; raises what a child's task could not handle."""
        while True:
            tasks = [
                kept.task
                for kept in self._children.values()
                if kept.task.done() and not kept.task.cancelled()
            ]
            for task in tasks:
                task.result()
            await asyncio.to_thread(
                trim_logs, {kept.child.log_file for kept in self._children.values()}
            )
            await asyncio.sleep(5)


def trim_logs(log_files: Iterable[Path], limit_bytes: int = LOG_LIMIT_BYTES) -> None:
    """Move what a log holds beyond the limit to one older file; its writers append, so they go on undisturbed."""
    for log in log_files:
        with contextlib.suppress(OSError):
            if log.stat().st_size > limit_bytes:
                shutil.copyfile(log, log.with_name(f"{log.name}.1"))
                os.truncate(log, 0)
