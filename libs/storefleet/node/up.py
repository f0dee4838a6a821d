"""`storefleet up`: the whole platform in the foreground, until Ctrl-C, SIGTERM or `storefleet down`.

Without services it is the node alone, beside services that run elsewhere: the containers of docker-compose.yml.
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
    """Run until told to stop, with these services; returns the exit code, having told why it is not 0."""
    began, terminal, state = time.monotonic(), Terminal(), StateFolder(settings.state_dir)
    os.umask(0o077)
    try:
        asyncio.run(_run_with_lock(settings, state, terminal, began, services))
    except (NodeError, EngineDescriptorError) as error:
        terminal.show_error(str(error))
        return 1
    except OSError as error:
        terminal.show_error(f"The state folder {state.path} cannot be used: {error}.")
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
    if ended := await terminate_leftovers(state.records_dir):
        log.warning("leftovers_ended", names=ended)
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
    """Whatever nobody foresaw: all of it into the log, one line of it to the person."""
    try:
        yield
    except (NodeError, EngineDescriptorError):
        raise
    except Exception as error:
        with contextlib.suppress(OSError):  # it may be the disk
            log.exception("node_crashed")
        what = f"{type(error).__name__}: {error}"[:200]
        raise NodeError(
            f"Stopped by an unexpected error ({what}); all of it is in {state.log_file('up')}."
        ) from None


def _acquire_lock(state: StateFolder, settings: Settings) -> TextIO:
    """The lock on the state folder; raises NodeError when another `up` holds it."""
    lock = state.acquire_lock()
    if lock is None:
        running = state.find_running_node()
        who = f"process {running.pid}" if running else "another process"
        raise NodeError(
            f"Storefleet runs already on {state.path} ({who}): stop it with `make down` first."
        )
    state.write_node_file(
        ports=state.read_node_file().get("ports", {}),
        services=service_processes.list_ports(settings),
    )
    return lock


async def _run_until_failure(
    node: Node, state: StateFolder, terminal: Terminal, started_s: float
) -> None:
    async with node.run_platform() as told:
        seconds = time.monotonic() - started_s
        log.info("ready", seconds=round(seconds, 2))
        if told:
            terminal.show_ready_panel(
                told, duration_s=seconds, credentials_file=str(state.admin_file)
            )
        else:
            terminal.show_note(f"Stores can run here ({seconds:.1f} s).")
        await node.wait_for_failure()


async def _cancel_on_stop(stop: asyncio.Event, task: asyncio.Task[None]) -> None:
    """Let it live until the word comes; then it takes everything down in its own order."""
    word = asyncio.create_task(stop.wait())
    await asyncio.wait({task, word}, return_when=asyncio.FIRST_COMPLETED)
    word.cancel()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
