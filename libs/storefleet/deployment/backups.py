"""Backups of the platform's database: written whole or not at all, the newest ones kept, put back in one transaction.

They hold the platform's own truth: tenants, stores, operations, history. What is in a shop is in its own database.
"""

import asyncio
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from storefleet.deployment.deployment_error import DeploymentError
from storefleet.node.processes.launcher import PLAIN_ENVIRONMENT
from storefleet.node.servers.server_programs import postgres_folder
from storefleet.observability import logs

log = logs.get_logger(__name__)

LATEST_NAME = "latest"
TIMEOUT_S = 3600.0
#: Numbers of events that may have been told since the backup; new ones begin behind them, since none is given twice.
SEQ_GAP = 1_000_000
_NAME_PATTERN = re.compile(r"storefleet-(\d{8}T\d{6}Z)\.dump")
_UNFINISHED_SUFFIX = ".part"
_SQL_BEFORE = """\\set ON_ERROR_STOP on
DROP SCHEMA public CASCADE;
CREATE SCHEMA public;
"""
_SQL_AFTER = f"""
UPDATE public.relay SET owner = NULL, lease_until = NULL, last_seq = last_seq + {SEQ_GAP};
"""  # noqa: S608  a number of our own


class Backup(NamedTuple):
    """A file in the folder of backups."""

    name: str
    size_bytes: int


async def create_backup(
    database_url: str, folder: Path, *, keep_count: int, now: datetime | None = None
) -> Backup:
    """Dump the database to the folder, see that the dump can be read, and let older ones than the newest `keep` go."""
    folder = _prepare_folder(folder)
    name = f"storefleet-{(now or datetime.now(UTC)):%Y%m%dT%H%M%SZ}.dump"
    part = folder / f"{name}{_UNFINISHED_SUFFIX}"
    try:
        await _run_program(
            "pg_dump", database_url, "--format=custom", "--no-owner", "--no-acl", f"--file={part}"
        )
        await _run_program("pg_restore", None, "--list", "--file=/dev/null", str(part))
        _finish_file(part, folder / name)
    finally:
        part.unlink(missing_ok=True)
    size = (folder / name).stat().st_size
    log.info("backed_up", backup=name, bytes=size)
    _delete_old_backups(folder, keep_count)
    return Backup(name, size)


def _prepare_folder(folder: Path) -> Path:
    """The folder, without what was stopped in the middle."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"storefleet-*{_UNFINISHED_SUFFIX}"):
        left.unlink(missing_ok=True)
    return folder


def list_backups(folder: Path) -> list[Backup]:
    """The newest one first."""
    found = [
        path for path in folder.glob("storefleet-*.dump") if _NAME_PATTERN.fullmatch(path.name)
    ]
    return [Backup(path.name, path.stat().st_size) for path in sorted(found, reverse=True)]


async def restore_backup(database_url: str, folder: Path, name: str) -> Backup:
    """Put a backup in the place of all that the database holds; nothing changes when any of it fails."""
    backup = _find_backup(folder, name)
    await _replace_database(database_url, folder / backup.name)
    log.info("restored", backup=backup.name, bytes=backup.size_bytes)
    return backup


def _find_backup(folder: Path, name: str) -> Backup:
    known = list_backups(folder)
    found = next((each for each in known if name in (LATEST_NAME, each.name)), None)
    if found is None:
        there = ", ".join(each.name for each in known[:5]) or "none at all"
        raise DeploymentError(f"There is no backup {name} in {folder}; there is {there}.")
    return found


async def _replace_database(database_url: str, file: Path) -> None:
    """The dump as statements, between ours, to one psql in one transaction."""
    reader = await _start_program(
        "pg_restore",
        None,
        "--no-owner",
        "--no-acl",
        "--file=-",
        str(file),
        stdout=asyncio.subprocess.PIPE,
    )
    arguments = ("--no-psqlrc", "--quiet", "--single-transaction", "--output=/dev/null", "--file=-")
    writer = await _start_program("psql", database_url, *arguments, stdin=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            (_, read_words), (_, written_words), _ = await asyncio.gather(
                _wait_for_exit(reader), _wait_for_exit(writer), _copy_dump(reader, writer)
            )
    except TimeoutError:
        raise DeploymentError(
            f"The restore of {file.name} does not end; nothing was changed."
        ) from None
    finally:
        for process in (reader, writer):
            with suppress(ProcessLookupError):
                process.kill()
    if reader.returncode or writer.returncode:
        raise DeploymentError(
            f"The backup {file.name} could not be put back: {read_words or written_words}"
        )


async def _copy_dump(
    reader: asyncio.subprocess.Process, writer: asyncio.subprocess.Process
) -> None:
    """A dump that ends too early is not committed: psql hears of the end only when the reader ended well."""
    if reader.stdout is None or writer.stdin is None:
        raise RuntimeError("both ends are pipes")
    with suppress(BrokenPipeError, ConnectionResetError):  # psql's own words say why it went
        writer.stdin.write(_SQL_BEFORE.encode())
        while part := await reader.stdout.read(1 << 16):
            writer.stdin.write(part)
            await writer.stdin.drain()
        whole = await reader.wait() == 0
        writer.stdin.write(
            (_SQL_AFTER if whole else "\nSELECT 'the dump is not whole'::integer;\n").encode()
        )
        await writer.stdin.drain()
        writer.stdin.close()


async def _wait_for_exit(process: asyncio.subprocess.Process) -> tuple[int, str]:
    words = b""
    if process.stderr is not None:
        while part := await process.stderr.read(4096):
            words = (words + part)[-2000:]
    code = await process.wait()
    lines = [line for line in words.decode(errors="replace").splitlines() if line.strip()]
    return code, " ".join(lines[:3])[:1000]


async def _run_program(program: str, database_url: str | None, *arguments: str) -> None:
    process = await _start_program(program, database_url, *arguments)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            code, words = await _wait_for_exit(process)
    except TimeoutError:
        raise DeploymentError(f"{program} does not end within {TIMEOUT_S:.0f} s.") from None
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    if code:
        raise DeploymentError(f"{program} ended with {code}: {words}")


async def _start_program(
    program: str,
    database_url: str | None,
    *arguments: str,
    stdin: int = asyncio.subprocess.DEVNULL,
    stdout: int | None = None,
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        str(postgres_folder() / "bin" / program),
        *arguments,
        env={
            **PLAIN_ENVIRONMENT,
            **(_make_connection_environment(database_url) if database_url else {}),
        },
        stdin=stdin,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
    )


def _make_connection_environment(database_url: str) -> Mapping[str, str]:
    """The address as the programs read it from their environment, where no list of processes shows the password."""
    parts = urlsplit(database_url.partition(",")[0])
    return {
        "PGHOST": parts.hostname or "",
        "PGPORT": str(parts.port or 5432),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": unquote(parts.path.removeprefix("/")),
        "PGCONNECT_TIMEOUT": "10",
    }


def _finish_file(part: Path, target: Path) -> None:
    """On the disk before it has its name."""
    part.chmod(0o600)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _delete_old_backups(folder: Path, keep_count: int) -> None:
    for old in list_backups(folder)[keep_count:]:
        (folder / old.name).unlink(missing_ok=True)
        log.info("backup_removed", backup=old.name)
