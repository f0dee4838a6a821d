"""Who a process is, told apart from a later one with the same number, and what an earlier run left behind."""

import asyncio
import contextlib
import os
import signal
import time
from dataclasses import asdict, dataclass, fields
from itertools import groupby
from pathlib import Path

from storefleet.node.private_files import read_json, write_json

TOKEN_VARIABLE = "STOREFLEET_CHILD"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Identity:
    """A process number and its start, in clock ticks since boot."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        return identify(self.pid) == self


@dataclass(frozen=True)
class Record:
    """A child on disk: enough to end it, and nothing else, from a later run."""

    name: str
    pid: int
    started: int
    boot: str
    token: str
    rank: int
    endings: list[tuple[int, float]]

    @property
    def identity(self) -> Identity:
        return Identity(self.pid, self.started)


def identify(pid: int) -> Identity | None:
    """The running process of that number; a zombie counts as gone."""
    status = _status(pid)
    if status is None or status[0] in "ZX":
        return None
    return Identity(pid, int(status[19]))


def boot_id() -> str:
    return _BOOT.read_text(encoding="ascii").strip()


def record_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def write_record(folder: Path, record: Record) -> None:
    write_json(
        record_path(folder, record.name), asdict(record), durable=False
    )  # worth nothing after a reboot


def read_records(folder: Path) -> list[Record]:
    """Every readable record of this boot; others are of processes that cannot exist any more."""
    known = {field.name for field in fields(Record)}
    boot = boot_id()
    found = [read_json(path) for path in sorted(folder.glob("*.json"))]
    return [
        Record(**content)
        for content in found
        if known == content.keys() and content["boot"] == boot
    ]


async def end_leftovers(folder: Path) -> list[str]:
    """End what a killed run left, services before stores before databases; returns the names that were alive."""
    records = sorted(read_records(folder), key=lambda record: -record.rank)
    ended: list[str] = []
    for _, group in groupby(records, key=lambda record: record.rank):
        names = await asyncio.gather(*(_end(record) for record in group))
        ended += [name for name in names if name]
    _forget(folder)
    return ended


def _forget(folder: Path) -> None:
    for path in folder.glob("*.json"):
        path.unlink(missing_ok=True)


async def _end(record: Record) -> str | None:
    found = record.identity.alive
    if found:
        for number, patience in (*record.endings, (signal.SIGKILL, 5.0)):
            send(record.identity, number)
            if await _gone(record.identity, patience):
                break
    members = session_members(record.pid, record.token)
    for member in members:
        send(member, signal.SIGKILL)
    for member in members:
        await _gone(member, 5)
    return record.name if found or members else None


async def _gone(identity: Identity, timeout: float) -> bool:
    give_up = time.monotonic() + timeout
    while identity.alive and time.monotonic() < give_up:  # noqa: ASYNC110 - it is nobody's child, nothing tells us
        await asyncio.sleep(0.02)
    return not identity.alive


def send(identity: Identity, number: int) -> None:
    """Signal exactly this process, never one that took its number over."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        descriptor = os.pidfd_open(identity.pid)
        try:
            if identity.alive:
                signal.pidfd_send_signal(descriptor, signal.Signals(number))
        finally:
            os.close(descriptor)


def session_members(session: int, token: str) -> list[Identity]:
    """Processes of a session that carry the child's token: what its leader left when it died."""
    members = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        status = _status(int(entry.name))
        if status is None or status[0] in "ZX" or int(status[3]) != session:
            continue
        if _carries(int(entry.name), token):
            members.append(Identity(int(entry.name), int(status[19])))
    return members


def _carries(pid: int, token: str) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"{TOKEN_VARIABLE}={token}".encode() in environment.split(b"\0")


def _status(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat from the state on; the name before it may hold anything."""
    try:
        content = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return content.rpartition(")")[2].split()
