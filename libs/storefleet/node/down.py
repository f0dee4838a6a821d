"""`storefleet down` and `storefleet status`: stop a node in another process, or show its state."""

import asyncio
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from storefleet.core.settings import Settings
from storefleet.node import service_processes
from storefleet.node.node_error import NodeError
from storefleet.node.private_files import read_json
from storefleet.node.processes.process_records import read_records, send_signal, terminate_leftovers
from storefleet.node.service_processes import SERVICES
from storefleet.node.state import StateFolder
from storefleet.runtimes.local.file_layout import FileLayout

STOP_TIMEOUT_S = 45.0


@dataclass(frozen=True)
class NodeStatus:
    """The status of a local node.

    Attributes:
        pid: The process id of the node; None if none runs.
        children: The process ids of the children by name.
        services: The readiness of each service: `ready`, `no answer` or what `/readyz` answered.
        stores: The names of the stores that run, by the name of their process.
    """

    pid: int | None
    children: dict[str, int]
    services: dict[str, str]
    stores: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the status as a JSON object."""
        return {
            "running": self.pid is not None,
            "pid": self.pid,
            "children": self.children,
            "services": self.services,
            "stores": self.stores,
        }


def stop_local_node(settings: Settings) -> str:
    """Stop the node of the state folder and wait for its end; clean up after a killed node.

    Args:
        settings: The settings, which name the state folder.

    Returns:
        What was done, as a sentence for the terminal.

    Raises:
        NodeError: The node has not stopped in time.
    """
    state = StateFolder(settings.state_dir)
    if not state.path.is_dir():
        return "Nothing is running."
    lock = state.acquire_lock()
    if lock is not None:
        with lock:
            names = asyncio.run(terminate_leftovers(state.records_dir))
        return (
            f"The processes of a killed run were terminated: {', '.join(names)}."
            if names
            else "Nothing is running."
        )
    return _stop_running_node(state)


def _stop_running_node(state: StateFolder) -> str:
    deadline_s, is_signalled = time.monotonic() + STOP_TIMEOUT_S, False
    while time.monotonic() < deadline_s:
        running = state.find_running_node()
        if running is not None and not is_signalled:
            send_signal(running, signal.SIGTERM)
            is_signalled = True
        lock = state.acquire_lock()
        if lock is not None:
            lock.close()
            return "Stopped."
        time.sleep(0.05)
    raise NodeError(
        f"Storefleet has not stopped within {STOP_TIMEOUT_S:.0f} s. Read its log "
        f"{state.log_file('up')}; the stop continues."
    )


def read_status(settings: Settings) -> NodeStatus:
    """Read the status of the node of the state folder.

    Args:
        settings: The settings, which name the state folder.

    Returns:
        The status; without a node, the children that a killed run left.
    """
    state = StateFolder(settings.state_dir)
    running = state.find_running_node()
    children = {
        record.name: record.pid
        for record in read_records(state.records_dir)
        if record.identity.is_alive
    }
    stores = {child: name for child in children if (name := _read_store_name(state, child))}
    if running is None:
        return NodeStatus(None, children, {}, stores)
    # The running node may use other ports than the settings of this command.
    node_settings = settings.model_copy(update=state.read_node_file().get("services", {}))
    services = asyncio.run(_read_readiness(node_settings))
    return NodeStatus(running.pid, children, services, stores)


def _read_store_name(state: StateFolder, child: str) -> str:
    """Read a store's name from the configuration of its process; empty for other children."""
    store_id = child.removeprefix("store-")
    if store_id == child:
        return ""
    with suppress(OSError):
        return str(read_json(FileLayout(state.path).config_file(store_id)).get("name") or "")
    return ""


async def _read_readiness(settings: Settings) -> dict[str, str]:
    answers = await asyncio.gather(
        *(service_processes.request_health(settings, service) for service in SERVICES)
    )
    return {
        service: "ready" if code == 200 else answer[:200] if code else "no answer"
        for service, (code, answer) in zip(SERVICES, answers, strict=True)
    }
