"""`storefleet up`: run the platform in the foreground until Ctrl-C, SIGTERM or `storefleet down`.

Without services, it runs only the servers and the stores; with docker-compose.yml, the services
run in containers. Every error becomes one line on the terminal, with the details in the log.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import TextIO

from storefleet.core.settings import Settings
from storefleet.engines import catalogue
from storefleet.engines.descriptor import EngineDescriptorError
from storefleet.node import admin, service_processes
from storefleet.node.node import Node
from storefleet.node.node_error import NodeError
from storefleet.node.processes.process_records import terminate_leftovers
from storefleet.node.state import StateFolder
from storefleet.node.system_user import SystemAccount, ensure_account
from storefleet.node.terminal import Terminal
from storefleet.observability import logs

log = logs.get_logger(__name__)


def run_local_node(
    settings: Settings, services: tuple[str, ...] = service_processes.SERVICES
) -> int:
    """Run the local node until it is stopped, and show errors on the terminal.

    Args:
        settings: The platform's settings.
        services: The services to run; an empty tuple runs only the servers and stores.

    Returns:
        The exit code: 0 after a requested stop, 1 after an error.
    """
    started_s, terminal, state = time.monotonic(), Terminal(), StateFolder(settings.state_dir)
    os.umask(0o077)
    try:
        asyncio.run(_run_with_lock(settings, state, terminal, started_s, services))
    except (NodeError, EngineDescriptorError) as error:
        terminal.show_error(str(error))
        return 1
    except OSError as error:
        terminal.show_error(
            f"The state folder {state.path} cannot be used: {error}. Correct its permissions, or "
            "choose another folder with STOREFLEET_STATE_DIR."
        )
        return 1
    terminal.stop_spinner()
    return 0


async def _run_with_lock(
    settings: Settings,
    state: StateFolder,
    terminal: Terminal,
    started_s: float,
    services: tuple[str, ...],
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    state.check_owner()
    account = ensure_account()
    state.create(account)
    state.check_free_space()
    with _acquire_lock(state, settings), state.log_file("up").open("a", encoding="utf-8") as lines:
        logs.configure_logging("node", settings.log_level, lines)
        with _report_unexpected_errors(state):
            await _run_node(settings, state, account, terminal, stop, started_s, services)


async def _run_node(
    settings: Settings,
    state: StateFolder,
    account: SystemAccount | None,
    terminal: Terminal,
    stop: asyncio.Event,
    started_s: float,
    services: tuple[str, ...],
) -> None:
    admin.delete_admin_file(state)
    if names := await terminate_leftovers(state.records_dir):
        log.warning("leftovers_terminated", names=names)
    if services:
        service_processes.check_ports(settings)
    engines = catalogue.load_engines(
        settings.engines_path, runtime=settings.runtime, catalogue_file=settings.catalogue
    )
    node = Node(
        settings=settings,
        state=state,
        engines=engines,
        account=account,
        report_progress=terminal.show_progress,
        services=services,
    )
    await _cancel_on_stop(
        stop, asyncio.create_task(_run_until_failure(node, state, terminal, started_s))
    )


@contextlib.contextmanager
def _report_unexpected_errors(state: StateFolder) -> Iterator[None]:
    """Log an unexpected error with its traceback, and raise it as a NodeError of one line."""
    try:
        yield
    except (NodeError, EngineDescriptorError):
        raise
    except Exception as error:
        with contextlib.suppress(OSError):  # the disk may be the cause
            log.exception("node_crashed")
        reason = f"{type(error).__name__}: {error}"[:200]
        raise NodeError(
            f"The local node stopped because of an unexpected error: {reason}. Read its log "
            f"{state.log_file('up')}."
        ) from None


def _acquire_lock(state: StateFolder, settings: Settings) -> TextIO:
    """Lock the state folder, and describe this process as its node.

    Raises:
        NodeError: Another process holds the lock.
    """
    lock = state.acquire_lock()
    if lock is None:
        running = state.find_running_node()
        holder = f"process {running.pid}" if running else "another process"
        raise NodeError(
            f"Storefleet runs already on {state.path} ({holder}). Stop it first with `make down`."
        )
    state.write_node_file(
        ports=state.read_node_file().get("ports", {}),
        services=service_processes.list_ports(settings),
    )
    return lock


async def _run_until_failure(
    node: Node, state: StateFolder, terminal: Terminal, started_s: float
) -> None:
    async with node.run_platform() as sign_in:
        duration_s = time.monotonic() - started_s
        log.info("platform_started", duration_s=round(duration_s, 2))
        if sign_in:
            terminal.show_ready_panel(
                sign_in, duration_s=duration_s, credentials_file=str(state.admin_file)
            )
        else:
            terminal.show_note(f"The local node is ready for stores ({duration_s:.1f} s).")
        await node.wait_for_failure()


async def _cancel_on_stop(stop: asyncio.Event, task: asyncio.Task[None]) -> None:
    """Wait for the task or the stop event; then cancel the task, which stops all parts in order."""
    stop_wait = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stop_wait}, return_when=asyncio.FIRST_COMPLETED)
    stop_wait.cancel()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
