"""One process of the node: its launch, its record, its end."""

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from storefleet.node.processes import sandbox
from storefleet.node.processes.process_records import (
    TOKEN_VARIABLE,
    ProcessIdentity,
    ProcessRecord,
    find_process,
    list_session_members,
    make_record_path,
    read_boot_id,
    send_signal,
    write_record,
)
from storefleet.node.system_user import SystemAccount

#: What every child gets: nothing of the caller's environment but what it needs to be found and read.
MINIMAL_ENVIRONMENT: Mapping[str, str] = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


@dataclass(frozen=True)
class ChildProcess:
    """What to run. Higher ranks are stopped first; `reach` are paths that `account` needs besides `cwd`."""

    name: str
    argv: tuple[str, ...]
    cwd: Path
    log_file: Path
    env: Mapping[str, str] = field(default_factory=lambda: MINIMAL_ENVIRONMENT)
    rank: int = 1
    umask: int = 0o077
    account: SystemAccount | None = None
    readable_paths: tuple[Path, ...] = ()
    #: Signals that end it, each with the seconds it gets; SIGKILL comes after the last one.
    stop_signals: tuple[tuple[int, float], ...] = ((signal.SIGTERM, 10.0),)
    #: Awaited before every start: clears what a crash left, or raises OSError to try again later.
    prepare: Callable[[], Awaitable[None]] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class RunningChild:
    """A launched child."""

    process: subprocess.Popen[bytes]
    identity: ProcessIdentity
    token: str

    async def wait_until_ended(self) -> int:
        """Wait for the end without a thread, then take the rest of the child's session away with it."""
        descriptor = os.pidfd_open(self.identity.pid)
        loop = asyncio.get_running_loop()
        end = asyncio.Event()
        loop.add_reader(descriptor, end.set)
        try:
            await end.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        # Not reaped yet, so the number still names this group and no other.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.identity.pid, signal.SIGKILL)
        for member in list_session_members(self.identity.pid, self.token):
            send_signal(member, signal.SIGKILL)
        return self.process.wait()


def launch_child(child: ChildProcess, *, records_dir: Path) -> RunningChild:
    """Start a child, and let its program begin only when its record is on disk; raises OSError."""
    token = secrets.token_hex(8)
    process, word = _spawn_sandbox(child, token)
    try:
        identity = find_process(process.pid) or ProcessIdentity(
            process.pid, -1
        )  # gone already: its exit code tells why
        write_record(records_dir, _make_record(child, identity, token))
        with contextlib.suppress(BrokenPipeError):
            os.write(word, b"1")
    except OSError:
        process.kill()
        process.wait()
        raise
    finally:
        os.close(word)
    return RunningChild(process, identity, token)


async def run_to_completion(child: ChildProcess, *, records_dir: Path, timeout_s: float) -> int:
    """Run a program that ends by itself; returns its exit code, raises TimeoutError when it had to be killed."""
    running = launch_child(child, records_dir=records_dir)
    ended = asyncio.create_task(running.wait_until_ended())
    try:
        done, _ = await asyncio.wait({ended}, timeout=timeout_s)
    finally:
        if not ended.done():
            send_signal(running.identity, signal.SIGKILL)
            await asyncio.shield(ended)
        make_record_path(records_dir, child.name).unlink(missing_ok=True)
    if not done:
        raise TimeoutError(f"{child.name} took more than {timeout_s:.0f} s")
    return ended.result()


def read_last_line(log_file: Path) -> str:
    """What a program said last, for a person."""
    with contextlib.suppress(OSError), log_file.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines()]
        return next((line for line in reversed(lines) if line), "")[:300]
    return ""


def _spawn_sandbox(child: ChildProcess, token: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start the launcher; the program itself begins when a byte is written to the returned descriptor."""
    go, word = os.pipe()
    try:
        log = os.open(
            child.log_file,
            os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o600,
        )
        try:
            user = (child.account.uid, child.account.gid) if child.account else None
            reach = [str(path) for path in child.readable_paths]
            argv = sandbox.make_command(
                child.argv,
                cwd=str(child.cwd),
                start_fd=go,
                umask=child.umask,
                user=user,
                readable_paths=reach,
            )
            process = subprocess.Popen(
                argv,
                env={**child.env, TOKEN_VARIABLE: token},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(go,),
            )
        finally:
            os.close(log)
    except BaseException:
        os.close(word)
        raise
    finally:
        os.close(go)
    return process, word


def _make_record(child: ChildProcess, identity: ProcessIdentity, token: str) -> ProcessRecord:
    return ProcessRecord(
        name=child.name,
        pid=identity.pid,
        started=identity.start_ticks,
        boot=read_boot_id(),
        token=token,
        rank=child.rank,
        stop_signals=[(int(number), patience) for number, patience in child.stop_signals],
    )
