"""`storefleet down` and `storefleet status`: what another process's node is doing, and its end."""

import asyncio
import signal
import time
from dataclasses import dataclass
from typing import Any

from storefleet.core.settings import Settings
from storefleet.node import service_processes
from storefleet.node.node_error import NodeError
from storefleet.node.processes.process_records import read_records, send_signal, terminate_leftovers
from storefleet.node.service_processes import SERVICES
from storefleet.node.state import StateFolder

STOP_TIMEOUT_S = 45.0


@dataclass(frozen=True)
class NodeStatus:
    """What runs: the node's process number, its children by name, and whether each service is ready."""

    pid: int | None
    children: dict[str, int]
    services: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        return {
            "running": self.pid is not None,
            "pid": self.pid,
            "children": self.children,
            "services": self.services,
        }


def stop_local_node(settings: Settings) -> str:
    """Stop the node of this state folder and wait for its end; returns what was done, raises NodeError."""
    state = StateFolder(settings.state_dir)
    if not state.path.is_dir():
        return "Nothing is running."
    lock = state.acquire_lock()
    if lock is not None:
        with lock:
            ended = asyncio.run(terminate_leftovers(state.records_dir))
        return (
            f"Ended what a killed run had left: {', '.join(ended)}."
            if ended
            else "Nothing is running."
        )
    return _stop_running_node(state)


def _stop_running_node(state: StateFolder) -> str:
    give_up, asked = time.monotonic() + STOP_TIMEOUT_S, False
    while time.monotonic() < give_up:
        running = state.find_running_node()
        if running is not None and not asked:
            send_signal(running, signal.SIGTERM)
            asked = True
        lock = state.acquire_lock()
        if lock is not None:
            lock.close()
            return "Stopped."
        time.sleep(0.05)
    raise NodeError(
        f"Storefleet has not stopped within {STOP_TIMEOUT_S:.0f} s; {state.log_file('up')} may say why."
    )


def read_status(settings: Settings) -> NodeStatus:
    """Look from outside, as any user of the state folder may."""
    state = StateFolder(settings.state_dir)
    running = state.find_running_node()
    children = {
        record.name: record.pid
        for record in read_records(state.records_dir)
        if record.identity.is_alive
    }
    if running is None:
        return NodeStatus(None, children, {})
    theirs = settings.model_copy(update=state.read_node_file().get("services", {}))
    return NodeStatus(running.pid, children, asyncio.run(_read_readiness(theirs)))


async def _read_readiness(settings: Settings) -> dict[str, str]:
    answers = await asyncio.gather(
        *(service_processes.request_health(settings, service) for service in SERVICES)
    )
    return {
        service: "ready" if code == 200 else said[:200] if code else "no answer"
        for service, (code, said) in zip(SERVICES, answers, strict=True)
    }
