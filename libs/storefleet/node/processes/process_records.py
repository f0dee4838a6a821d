"""Process records: identify processes across runs, and terminate what a killed run left.

A process is identified by its id and start time, so a later process with the same id is never
signalled.
"""

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
    """A process id and the start time of the process, in clock ticks since boot."""

    pid: int
    start_ticks: int

    @property
    def is_alive(self) -> bool:
        """Whether exactly this process still runs; a zombie does not."""
        return find_process(self.pid) == self


@dataclass(frozen=True)
class ProcessRecord:
    """The record of a child on disk, from which a later run can terminate it.

    Attributes:
        name: The name of the child.
        pid: The process id, which is also the id of its session.
        started: The start time in clock ticks since boot.
        boot: The id of the boot; records of other boots are ignored.
        token: The value of `TOKEN_VARIABLE` in the environment of the child's processes.
        rank: The order of stopping: higher ranks stop first.
        stop_signals: Signals and their grace periods in seconds.
    """

    name: str
    pid: int
    started: int
    boot: str
    token: str
    rank: int
    stop_signals: list[tuple[int, float]]

    @property
    def identity(self) -> ProcessIdentity:
        """The recorded process."""
        return ProcessIdentity(self.pid, self.started)


def find_process(pid: int) -> ProcessIdentity | None:
    """Find a running process by its id.

    Returns:
        The process; None if there is none or it is a zombie.
    """
    status = _read_stat(pid)
    if status is None or status[0] in "ZX":
        return None
    return ProcessIdentity(pid, int(status[19]))


def read_boot_id() -> str:
    """Read the kernel's random id of the current boot."""
    return _BOOT_ID_FILE.read_text(encoding="ascii").strip()


def make_record_path(records_dir: Path, name: str) -> Path:
    """Make the path of a child's process record."""
    return records_dir / f"{name}.json"


def write_record(records_dir: Path, record: ProcessRecord) -> None:
    """Write a process record; it need not survive a reboot, so it is not synced to disk."""
    write_json(make_record_path(records_dir, record.name), asdict(record), durable=False)


def read_records(records_dir: Path) -> list[ProcessRecord]:
    """Read the process records of the current boot; unreadable records are skipped."""
    field_names = {field.name for field in fields(ProcessRecord)}
    boot = read_boot_id()
    contents = [read_json(path) for path in sorted(records_dir.glob("*.json"))]
    return [
        ProcessRecord(**content)
        for content in contents
        if field_names == content.keys() and content["boot"] == boot
    ]


async def terminate_leftovers(records_dir: Path) -> list[str]:
    """Terminate the children of a killed run, the highest rank first, and delete all records.

    Args:
        records_dir: The folder of the process records.

    Returns:
        The names of the children that were alive.
    """
    records = sorted(read_records(records_dir), key=lambda record: -record.rank)
    terminated: list[str] = []
    for _, group in groupby(records, key=lambda record: record.rank):
        names = await asyncio.gather(*(_terminate(record) for record in group))
        terminated += [name for name in names if name]
    _delete_records(records_dir)
    return terminated


def _delete_records(records_dir: Path) -> None:
    for path in records_dir.glob("*.json"):
        path.unlink(missing_ok=True)


async def _terminate(record: ProcessRecord) -> str | None:
    was_alive = record.identity.is_alive
    if was_alive:
        for number, grace_period_s in (*record.stop_signals, (signal.SIGKILL, 5.0)):
            send_signal(record.identity, number)
            if await _wait_until_gone(record.identity, grace_period_s):
                break
    members = list_session_members(record.pid, record.token)
    for member in members:
        send_signal(member, signal.SIGKILL)
    for member in members:
        await _wait_until_gone(member, 5)
    return record.name if was_alive or members else None


async def _wait_until_gone(identity: ProcessIdentity, timeout_s: float) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while identity.is_alive and time.monotonic() < deadline_s:  # noqa: ASYNC110 - not our child: no event
        await asyncio.sleep(0.02)
    return not identity.is_alive


def send_signal(identity: ProcessIdentity, number: int) -> None:
    """Send a signal to exactly this process, never to a later one with the same id.

    Args:
        identity: The process; nothing happens if it has ended.
        number: The signal.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        descriptor = os.pidfd_open(identity.pid)
        try:
            if identity.is_alive:
                signal.pidfd_send_signal(descriptor, signal.Signals(number))
        finally:
            os.close(descriptor)


def list_session_members(session: int, token: str) -> list[ProcessIdentity]:
    """List the processes of a session that have the child's token in their environment.

    They may outlive the session's leader. The token excludes a later session with the same id.

    Args:
        session: The session id, which is the process id of the child.
        token: The child's token.

    Returns:
        The processes; zombies are not included.
    """
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
    """Read the fields of `/proc/<pid>/stat` after the program's name, which may contain spaces.

    Returns:
        The fields, beginning with the process state; None if there is no such process.
    """
    try:
        content = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return content.rpartition(")")[2].split()
