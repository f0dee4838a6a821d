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
    Identity,
    Record,
    boot_id,
    identify,
    record_path,
    send,
    session_members,
    write_record,
)
from storefleet.node.system_user import Account

#: What every child gets: nothing of the caller's environment but what it needs to be found and read.
PLAIN_ENVIRONMENT: Mapping[str, str] = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


@dataclass(frozen=True)
class Child:
    """What to run. Higher ranks are stopped first; `reach` are paths that `account` needs besides `cwd`."""

    name: str
    argv: tuple[str, ...]
    cwd: Path
    log: Path
    env: Mapping[str, str] = field(default_factory=lambda: PLAIN_ENVIRONMENT)
    rank: int = 1
    umask: int = 0o077
    account: Account | None = None
    reach: tuple[Path, ...] = ()
    #: Signals that end it, each with the seconds it gets; SIGKILL comes after the last one.
    endings: tuple[tuple[int, float], ...] = ((signal.SIGTERM, 10.0),)
    #: Awaited before every start: clears what a crash left, or raises OSError to try again later.
    before: Callable[[], Awaitable[None]] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Running:
    """A launched child."""

    process: subprocess.Popen[bytes]
    identity: Identity
    token: str

    async def ended(self) -> int:
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
        for member in session_members(self.identity.pid, self.token):
            send(member, signal.SIGKILL)
        return self.process.wait()


def launch(child: Child, *, records: Path) -> Running:
    """Start a child, and let its program begin only when its record is on disk; raises OSError."""
    token = secrets.token_hex(8)
    process, word = _spawn(child, token)
    try:
        identity = identify(process.pid) or Identity(
            process.pid, -1
        )  # gone already: its exit code tells why
        write_record(records, _record(child, identity, token))
        with contextlib.suppress(BrokenPipeError):
            os.write(word, b"1")
    except OSError:
        process.kill()
        process.wait()
        raise
    finally:
        os.close(word)
    return Running(process, identity, token)


async def run_to_end(child: Child, *, records: Path, timeout: float) -> int:
    """Run a program that ends by itself; returns its exit code, raises TimeoutError when it had to be killed."""
    running = launch(child, records=records)
    ended = asyncio.create_task(running.ended())
    try:
        done, _ = await asyncio.wait({ended}, timeout=timeout)
    finally:
        if not ended.done():
            send(running.identity, signal.SIGKILL)
            await asyncio.shield(ended)
        record_path(records, child.name).unlink(missing_ok=True)
    if not done:
        raise TimeoutError(f"{child.name} took more than {timeout:.0f} s")
    return ended.result()


def last_line(log: Path) -> str:
    """What a program said last, for a person."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines()]
        return next((line for line in reversed(lines) if line), "")[:300]
    return ""


def _spawn(child: Child, token: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start the launcher; the program itself begins when a byte is written to the returned descriptor."""
    go, word = os.pipe()
    try:
        log = os.open(
            child.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        try:
            user = (child.account.uid, child.account.gid) if child.account else None
            reach = [str(path) for path in child.reach]
            argv = sandbox.command(
                child.argv, cwd=str(child.cwd), go=go, umask=child.umask, user=user, reach=reach
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


def _record(child: Child, identity: Identity, token: str) -> Record:
    return Record(
        name=child.name,
        pid=identity.pid,
        started=identity.started,
        boot=boot_id(),
        token=token,
        rank=child.rank,
        endings=[(int(number), patience) for number, patience in child.endings],
    )
