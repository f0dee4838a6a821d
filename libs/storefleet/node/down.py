"""`storefleet down` and `storefleet status`: what another process's node is doing, and its end."""

import asyncio
import signal
import time
from dataclasses import dataclass
from typing import Any

from storefleet.core.settings import Settings
from storefleet.node import service_processes
from storefleet.node.node_error import NodeError
from storefleet.node.processes.process_records import end_leftovers, read_records, send
from storefleet.node.service_processes import SERVICES
from storefleet.node.state import State

PATIENCE = 45.0


@dataclass(frozen=True)
class Report:
    """What runs: the node's process number, its children by name, and whether each service is ready."""

    pid: int | None
    children: dict[str, int]
    ready: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        return {
            "running": self.pid is not None,
            "pid": self.pid,
            "children": self.children,
            "services": self.ready,
        }


def down(settings: Settings) -> str:
    """Stop the node of this state folder and wait for its end; returns what was done, raises NodeError."""
    state = State(settings.state_dir)
    if not state.folder.is_dir():
        return "Nothing is running."
    lock = state.lock()
    if lock is not None:
        with lock:
            ended = asyncio.run(end_leftovers(state.records))
        return (
            f"Ended what a killed run had left: {', '.join(ended)}."
            if ended
            else "Nothing is running."
        )
    return _stop(state)


def _stop(state: State) -> str:
    give_up, asked = time.monotonic() + PATIENCE, False
    while time.monotonic() < give_up:
        running = state.running()
        if running is not None and not asked:
            send(running, signal.SIGTERM)
            asked = True
        lock = state.lock()
        if lock is not None:
            lock.close()
            return "Stopped."
        time.sleep(0.05)
    raise NodeError(
        f"Storefleet has not stopped within {PATIENCE:.0f} s; {state.log('up')} may say why."
    )


def status(settings: Settings) -> Report:
    """Look from outside, as any user of the state folder may."""
    state = State(settings.state_dir)
    running = state.running()
    children = {
        record.name: record.pid for record in read_records(state.records) if record.identity.alive
    }
    if running is None:
        return Report(None, children, {})
    theirs = settings.model_copy(update=state.read_node().get("services", {}))
    return Report(running.pid, children, asyncio.run(_readiness(theirs)))


async def _readiness(settings: Settings) -> dict[str, str]:
    answers = await asyncio.gather(
        *(service_processes.ask(settings, service) for service in SERVICES)
    )
    return {
        service: "ready" if code == 200 else said[:200] if code else "no answer"
        for service, (code, said) in zip(SERVICES, answers, strict=True)
    }
