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
_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class ProcessIdentity:
    """A process number and its start, in clock ticks since boot."""

    pid: int
    start_ticks: int

    @property
    def is_alive(self) -> bool:
        return find_process(self.pid) == self


@dataclass(frozen=True)
class ProcessRecord:
    """A child on disk: enough to end it, and nothing else, from a later run."""

    name: str
    pid: int
    started: int
    boot: str
    token: str
    rank: int
    stop_signals: list[tuple[int, float]]

    @property
    def identity(self) -> ProcessIdentity:
        return ProcessIdentity(self.pid, self.started)


def find_process(pid: int) -> ProcessIdentity | None:
    """The running process of that number; a zombie counts as gone."""
    status = _read_stat(pid)
    if status is None or status[0] in "ZX":
        return None
    return ProcessIdentity(pid, int(status[19]))


def read_boot_id() -> str:
    return _BOOT_ID_FILE.read_text(encoding="ascii").strip()


def make_record_path(records_dir: Path, name: str) -> Path:
    return records_dir / f"{name}.json"


def write_record(records_dir: Path, record: ProcessRecord) -> None:
    write_json(
        make_record_path(records_dir, record.name), asdict(record), durable=False
    )  # worth nothing after a reboot


def read_records(records_dir: Path) -> list[ProcessRecord]:
    """Every readable record of this boot; others are of processes that cannot exist any more."""
    known = {field.name for field in fields(ProcessRecord)}
    boot = read_boot_id()
    found = [read_json(path) for path in sorted(records_dir.glob("*.json"))]
    return [
        ProcessRecord(**content)
        for content in found
        if known == content.keys() and content["boot"] == boot
    ]


async def terminate_leftovers(records_dir: Path) -> list[str]:
    """End what a killed run left, services before stores before databases; returns the names that were alive."""
    records = sorted(read_records(records_dir), key=lambda record: -record.rank)
    ended: list[str] = []
    for _, group in groupby(records, key=lambda record: record.rank):
        names = await asyncio.gather(*(_terminate(record) for record in group))
        ended += [name for name in names if name]
    _delete_records(records_dir)
    return ended


def _delete_records(records_dir: Path) -> None:
    for path in records_dir.glob("*.json"):
        path.unlink(missing_ok=True)


async def _terminate(record: ProcessRecord) -> str | None:
    found = record.identity.is_alive
    if found:
        for number, patience in (*record.stop_signals, (signal.SIGKILL, 5.0)):
            send_signal(record.identity, number)
            if await _wait_until_gone(record.identity, patience):
                break
    members = list_session_members(record.pid, record.token)
    for member in members:
        send_signal(member, signal.SIGKILL)
    for member in members:
        await _wait_until_gone(member, 5)
    return record.name if found or members else None


async def _wait_until_gone(identity: ProcessIdentity, timeout_s: float) -> bool:
    give_up = time.monotonic() + timeout_s
    while identity.is_alive and time.monotonic() < give_up:  # noqa: ASYNC110 - it is nobody's child, nothing tells us
        await asyncio.sleep(0.02)
    return not identity.is_alive


def send_signal(identity: ProcessIdentity, number: int) -> None:
    """Signal exactly this process, never one that took its number over."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        descriptor = os.pidfd_open(identity.pid)
        try:
            if identity.is_alive:
                signal.pidfd_send_signal(descriptor, signal.Signals(number))
        finally:
            os.close(descriptor)


def list_session_members(session: int, token: str) -> list[ProcessIdentity]:
    """Processes of a session that carry the child's token: what its leader left when it died."""
    members = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        status = _read_stat(int(entry.name))
        if status is None or status[0] in "ZX" or int(status[3]) != session:
            continue
        if _has_token(int(entry.name), token):
            members.append(ProcessIdentity(int(entry.name), int(status[19])))
    return members


def _has_token(pid: int, token: str) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"{TOKEN_VARIABLE}={token}".encode() in environment.split(b"\0")


def _read_stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat from the state on; the name before it may hold anything."""
    try:
        content = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return content.rpartition(")")[2].split()
