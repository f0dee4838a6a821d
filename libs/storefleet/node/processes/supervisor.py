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
from storefleet.node.processes.launcher import Child, last_line, launch
from storefleet.node.processes.process_records import Identity, record_path, send

State = Literal["starting", "running", "waiting", "stopped"]
LOG_LIMIT = 10 * 1024 * 1024
BACKOFF_FIRST, STEADY_AFTER = 0.1, 10.0


@dataclass
class Status:
    """What is seen of a child. `restarts` counts unexpected ends since it was first started."""

    state: State = "starting"
    pid: int | None = None
    since: float = 0.0
    restarts: int = 0
    message: str = ""


class _Kept:
    """One child's life: a task that starts it again until it is told to stop."""

    def __init__(
        self, child: Child, *, records: Path, changed: Callable[[str], None], backoff: float
    ) -> None:
        self.child = child
        self._backoff = backoff
        self.status = Status()
        self._records = records
        self._changed = changed
        self._identity: Identity | None = None
        self._stopping = asyncio.Event()
        self.task = asyncio.create_task(self._live(), name=f"child {child.name}")

    async def stop(self) -> None:
        self._stopping.set()
        for number, patience in (*self.child.endings, (signal.SIGKILL, 5.0)):
            self.signal(number)
            done, _ = await asyncio.wait({self.task}, timeout=patience)
            if done:
                break
        await self.task

    def signal(self, number: int) -> None:
        if self._identity is not None:
            send(self._identity, number)

    async def _live(self) -> None:
        delay = BACKOFF_FIRST
        while not self._stopping.is_set():
            began = time.monotonic()
            reason = await self._run_once()
            if self._stopping.is_set():
                break
            delay = BACKOFF_FIRST if time.monotonic() - began > STEADY_AFTER else delay
            self.status.restarts += 1
            self._see("waiting", message=reason)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
            delay = min(delay * 2, self._backoff)
        self._see("stopped")

    async def _run_once(self) -> str:
        """Start the program and wait for its end; returns how it ended."""
        self._see("starting", message=self.status.message)
        try:
            if self.child.before is not None:
                await self.child.before()
            running = launch(self.child, records=self._records)
        except (OSError, NodeError) as error:
            return f"could not be started: {error}"
        self._identity = running.identity
        if self._stopping.is_set():
            self.signal(self.child.endings[0][0])  # told to stop while it was being started
        self._see("running", pid=running.identity.pid)
        code = await running.ended()
        self._identity = None
        record_path(self._records, self.child.name).unlink(missing_ok=True)
        if code == sandbox.REFUSED:
            return last_line(self.child.log)
        return (
            f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        )

    def _see(self, state: State, *, pid: int | None = None, message: str = "") -> None:
        self.status.state, self.status.pid, self.status.message = state, pid, message
        self.status.since = time.time()
        self._changed(self.child.name)


class Supervisor:
    """Keeps children equal to what was asked for. `changed` is called with a name whenever its status differs."""

    def __init__(
        self,
        *,
        records: Path,
        changed: Callable[[str], None] = lambda _name: None,
        backoff: float = 5.0,
    ) -> None:
        """Take `backoff`: the longest pause before a child is started again, seconds."""
        self._backoff = backoff
        self._records = records
        self._changed = changed
        self._kept: dict[str, _Kept] = {}

    def start(self, child: Child) -> None:
        """Begin to keep a child; one of the same name must have been stopped before."""
        if child.name in self._kept:
            raise ValueError(f"{child.name} is kept already")
        self._kept[child.name] = _Kept(
            child, records=self._records, changed=self._changed, backoff=self._backoff
        )

    async def stop(self, name: str) -> None:
        """End a child and forget it; nothing happens when there is none."""
        kept = self._kept.get(name)
        if kept is not None:
            await kept.stop()
            self._kept.pop(name, None)

    async def stop_all(self, *, least_rank: int = 0) -> None:
        """End everything from this rank up, the highest rank first, those of one rank together."""
        ranks = {kept.child.rank for kept in self._kept.values() if kept.child.rank >= least_rank}
        for rank in sorted(ranks, reverse=True):
            names = [name for name, kept in self._kept.items() if kept.child.rank == rank]
            await asyncio.gather(*(self.stop(name) for name in names))

    def status(self, name: str) -> Status | None:
        kept = self._kept.get(name)
        return kept.status if kept else None

    def child(self, name: str) -> Child | None:
        kept = self._kept.get(name)
        return kept.child if kept else None

    def names(self) -> list[str]:
        return list(self._kept)

    async def watch(self) -> None:
        """Keep the logs small, for as long as it runs; raises what a child's task could not handle."""
        while True:
            tasks = [
                kept.task
                for kept in self._kept.values()
                if kept.task.done() and not kept.task.cancelled()
            ]
            for task in tasks:
                task.result()
            await asyncio.to_thread(trim_logs, {kept.child.log for kept in self._kept.values()})
            await asyncio.sleep(5)


def trim_logs(logs: Iterable[Path], limit: int = LOG_LIMIT) -> None:
    """Move what a log holds beyond the limit to one older file; its writers append, so they go on undisturbed."""
    for log in logs:
        with contextlib.suppress(OSError):
            if log.stat().st_size > limit:
                shutil.copyfile(log, log.with_name(f"{log.name}.1"))
                os.truncate(log, 0)
