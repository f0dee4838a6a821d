"""Launch one child process of the local node, record it, and wait for its end.

The child starts in the sandbox (`sandbox.py`), which runs the program only after the process
record is on disk. Restarts are the supervisor's work.
"""

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

#: The environment of every child: only what a program needs, nothing inherited from the caller.
MINIMAL_ENVIRONMENT: Mapping[str, str] = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


@dataclass(frozen=True)
class ChildProcess:
    """A program to run, and how to stop it.

    Attributes:
        name: The unique name; the process record is named after it.
        argv: The program and its arguments.
        cwd: The working directory.
        log_file: The file that standard output and standard error are appended to.
        env: The complete environment.
        rank: The order of stopping: higher ranks stop first.
        umask: The mode bits that new files do not get.
        account: The system account to run as; None is the current user.
        readable_paths: Paths besides `cwd` that the account must be able to reach.
        stop_signals: Signals that stop it, each with its grace period in seconds; SIGKILL follows.
        prepare: Awaited before every start: repairs what a crash left, or raises OSError to
            postpone the start.
    """

    name: str
    argv: tuple[str, ...]
    cwd: Path
    log_file: Path
    env: Mapping[str, str] = field(default_factory=lambda: MINIMAL_ENVIRONMENT)
    rank: int = 1
    umask: int = 0o077
    account: SystemAccount | None = None
    readable_paths: tuple[Path, ...] = ()
    stop_signals: tuple[tuple[int, float], ...] = ((signal.SIGTERM, 10.0),)
    prepare: Callable[[], Awaitable[None]] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class RunningChild:
    """A launched child process.

    Attributes:
        process: The process; it is reaped by `wait_until_ended`.
        identity: The id and start time of the process.
        token: The value in the environment of all its descendants.
    """

    process: subprocess.Popen[bytes]
    identity: ProcessIdentity
    token: str

    async def wait_until_ended(self) -> int:
        """Wait for the end without a thread, then kill what remains of the child's session.

        Returns:
            The exit code; negative if a signal ended the process.
        """
        descriptor = os.pidfd_open(self.identity.pid)
        loop = asyncio.get_running_loop()
        end = asyncio.Event()
        loop.add_reader(descriptor, end.set)
        try:
            await end.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        # The process is not reaped yet, so its id cannot name another group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.identity.pid, signal.SIGKILL)
        for member in list_session_members(self.identity.pid, self.token):
            send_signal(member, signal.SIGKILL)
        return self.process.wait()


def launch_child(child: ChildProcess, *, records_dir: Path) -> RunningChild:
    """Start a child; its program begins only after its record is on disk.

    Args:
        child: What to run.
        records_dir: The folder of the process records.

    Returns:
        The running child.

    Raises:
        OSError: The process cannot be started, or the record cannot be written.
    """
    token = secrets.token_hex(8)
    process, start_writer = _spawn_sandbox(child, token)
    try:
        # A process that has ended already is recorded, too; its exit code is the reason.
        identity = find_process(process.pid) or ProcessIdentity(process.pid, -1)
        write_record(records_dir, _make_record(child, identity, token))
        with contextlib.suppress(BrokenPipeError):
            os.write(start_writer, b"1")
    except OSError:
        process.kill()
        process.wait()
        raise
    finally:
        os.close(start_writer)
    return RunningChild(process, identity, token)


async def run_to_completion(child: ChildProcess, *, records_dir: Path, timeout_s: float) -> int:
    """Run a program that ends by itself, and wait for its end.

    Args:
        child: What to run.
        records_dir: The folder of the process records.
        timeout_s: The maximum run time in seconds.

    Returns:
        The exit code; negative if a signal ended the process.

    Raises:
        OSError: The process cannot be started, or the record cannot be written.
        TimeoutError: The program ran too long and was killed.
    """
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
    """Read the last line of a log, for an error text.

    Returns:
        At most 300 characters; an empty text if the log is empty or cannot be read.
    """
    with contextlib.suppress(OSError), log_file.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines()]
        return next((line for line in reversed(lines) if line), "")[:300]
    return ""


def _spawn_sandbox(child: ChildProcess, token: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start the sandbox; the program begins when a byte is written to the returned descriptor."""
    start_reader, start_writer = os.pipe()
    try:
        log = os.open(
            child.log_file,
            os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o600,
        )
        try:
            user = (child.account.uid, child.account.gid) if child.account else None
            readable_paths = [str(path) for path in child.readable_paths]
            argv = sandbox.make_command(
                child.argv,
                cwd=str(child.cwd),
                start_fd=start_reader,
                umask=child.umask,
                user=user,
                readable_paths=readable_paths,
            )
            process = subprocess.Popen(
                argv,
                env={**child.env, TOKEN_VARIABLE: token},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(start_reader,),
            )
        finally:
            os.close(log)
    except BaseException:
        os.close(start_writer)
        raise
    finally:
        os.close(start_reader)
    return process, start_writer


def _make_record(child: ChildProcess, identity: ProcessIdentity, token: str) -> ProcessRecord:
    return ProcessRecord(
        name=child.name,
        pid=identity.pid,
        started=identity.start_ticks,
        boot=read_boot_id(),
        token=token,
        rank=child.rank,
        stop_signals=[
            (int(number), grace_period_s) for number, grace_period_s in child.stop_signals
        ],
    )
