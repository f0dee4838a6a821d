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
from storefleet.node.processes.process_records import end_leftovers
from storefleet.node.state import State
from storefleet.node.system_user import Account, find_account
from storefleet.node.terminal import Terminal
from storefleet.observability import logs

log = logs.get_logger(__name__)


def up(settings: Settings, wanted: tuple[str, ...] = service_processes.SERVICES) -> int:
    """Run until told to stop, with these services; returns the exit code, having told why it is not 0."""
    began, terminal, state = time.monotonic(), Terminal(), State(settings.state_dir)
    os.umask(0o077)
    try:
        asyncio.run(_up(settings, state, terminal, began, wanted))
    except (NodeError, EngineDescriptorError) as error:
        terminal.problem(str(error))
        return 1
    except OSError as error:
        terminal.problem(f"The state folder {state.folder} cannot be used: {error}.")
        return 1
    terminal.quiet()
    return 0


async def _up(
    settings: Settings, state: State, terminal: Terminal, began: float, wanted: tuple[str, ...]
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    state.check_owner()
    account = find_account()
    state.make(account)
    state.check_room()
    with _alone(state, settings), state.log("up").open("a", encoding="utf-8") as lines:
        logs.configure_logging("node", settings.log_level, lines)
        with _explained(state):
            await _run(settings, state, account, terminal, stop, began, wanted)


async def _run(
    settings: Settings,
    state: State,
    account: Account | None,
    terminal: Terminal,
    stop: asyncio.Event,
    began: float,
    wanted: tuple[str, ...],
) -> None:
    admin.untell(state)
    if ended := await end_leftovers(state.records):
        log.warning("leftovers_ended", names=ended)
    if wanted:
        service_processes.check_ports(settings)
    engines = catalogue.load_engines(
        settings.engines_path, runtime=settings.runtime, catalogue_file=settings.catalogue
    )
    node = Node(
        settings=settings,
        state=state,
        engines=engines,
        account=account,
        say=terminal.say,
        services=wanted,
    )
    await _until(stop, asyncio.create_task(_live(node, state, terminal, began)))


@contextlib.contextmanager
def _explained(state: State) -> Iterator[None]:
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
            f"Stopped by an unexpected error ({what}); all of it is in {state.log('up')}."
        ) from None


def _alone(state: State, settings: Settings) -> TextIO:
    """The lock on the state folder; raises NodeError when another `up` holds it."""
    lock = state.lock()
    if lock is None:
        running = state.running()
        who = f"process {running.pid}" if running else "another process"
        raise NodeError(
            f"Storefleet runs already on {state.folder} ({who}): stop it with `make down` first."
        )
    state.write_node(
        ports=state.read_node().get("ports", {}), services=service_processes.ports(settings)
    )
    return lock


async def _live(node: Node, state: State, terminal: Terminal, began: float) -> None:
    async with node.running() as told:
        seconds = time.monotonic() - began
        log.info("ready", seconds=round(seconds, 2))
        if told:
            terminal.ready(told, seconds=seconds, file=str(state.admin))
        else:
            terminal.note(f"Stores can run here ({seconds:.1f} s).")
        await node.watch()


async def _until(stop: asyncio.Event, life: asyncio.Task[None]) -> None:
    """Let it live until the word comes; then it takes everything down in its own order."""
    word = asyncio.create_task(stop.wait())
    await asyncio.wait({life, word}, return_when=asyncio.FIRST_COMPLETED)
    word.cancel()
    life.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await life
