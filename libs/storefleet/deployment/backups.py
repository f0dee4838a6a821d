"""Back up and restore the platform's own database: tenants, stores, operations, event history.

A backup file is complete or does not exist; a restore is one transaction. The data of a store is
in the store's own database and is not part of it.
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
from storefleet.node.processes.launcher import MINIMAL_ENVIRONMENT
from storefleet.node.servers.server_programs import find_postgres_dir
from storefleet.observability import logs

log = logs.get_logger(__name__)

LATEST_NAME = "latest"
TIMEOUT_S = 3600.0
#: Event numbers reserved for events published since the backup: no number is assigned twice.
SEQ_GAP = 1_000_000
_NAME_PATTERN = re.compile(r"storefleet-(\d{8}T\d{6}Z)\.dump")
_UNFINISHED_SUFFIX = ".part"
_SQL_BEFORE = """\\set ON_ERROR_STOP on
DROP SCHEMA public CASCADE;
CREATE SCHEMA public;
"""
_SQL_AFTER = f"""
UPDATE public.relay SET owner = NULL, lease_until = NULL, last_seq = last_seq + {SEQ_GAP};
"""  # noqa: S608  the number is a constant
_SQL_FAILURE = "\nSELECT 'the dump is incomplete'::integer;\n"


class Backup(NamedTuple):
    """A backup file: its name and size."""

    name: str
    size_bytes: int


async def create_backup(
    database_url: str, folder: Path, *, keep_count: int, now: datetime | None = None
) -> Backup:
    """Dump the database to a folder, verify the dump, and delete the oldest backups.

    Args:
        database_url: The platform's database.
        folder: The folder of the backups; it is created if missing.
        keep_count: The number of backups to keep.
        now: The time for the file's name; None is the current time.

    Returns:
        The new backup.

    Raises:
        DeploymentError: `pg_dump` or the verification failed.
    """
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
    size_bytes = (folder / name).stat().st_size
    log.info("backup_created", backup=name, size_bytes=size_bytes)
    _delete_old_backups(folder, keep_count)
    return Backup(name, size_bytes)


def _prepare_folder(folder: Path) -> Path:
    """Create the folder and delete what an interrupted backup left."""
    folder.mkdir(parents=True, exist_ok=True)
    for unfinished in folder.glob(f"storefleet-*{_UNFINISHED_SUFFIX}"):
        unfinished.unlink(missing_ok=True)
    return folder


def list_backups(folder: Path) -> list[Backup]:
    """List the backups of a folder, newest first."""
    files = [
        path for path in folder.glob("storefleet-*.dump") if _NAME_PATTERN.fullmatch(path.name)
    ]
    return [Backup(path.name, path.stat().st_size) for path in sorted(files, reverse=True)]


async def restore_backup(database_url: str, folder: Path, name: str) -> Backup:
    """Replace the content of the database with a backup, in one transaction.

    Args:
        database_url: The platform's database; no service may use it meanwhile.
        folder: The folder of the backups.
        name: The file name, or `latest`.

    Returns:
        The backup that was restored.

    Raises:
        DeploymentError: There is no such backup, or it cannot be restored; nothing was changed.
    """
    backup = _find_backup(folder, name)
    await _replace_database(database_url, folder / backup.name)
    log.info("backup_restored", backup=backup.name, size_bytes=backup.size_bytes)
    return backup


def _find_backup(folder: Path, name: str) -> Backup:
    backups = list_backups(folder)
    found = next((backup for backup in backups if name in (LATEST_NAME, backup.name)), None)
    if found is None:
        existing = ", ".join(backup.name for backup in backups[:5]) or "none"
        raise DeploymentError(f"There is no backup {name} in {folder}. Existing: {existing}.")
    return found


async def _replace_database(database_url: str, file: Path) -> None:
    """Pipe the dump as SQL, between our own statements, to one psql in one transaction."""
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
            (_, reader_error), (_, writer_error), _ = await asyncio.gather(
                _wait_for_exit(reader), _wait_for_exit(writer), _copy_dump(reader, writer)
            )
    except TimeoutError:
        raise DeploymentError(
            f"The restore of {file.name} did not end within {TIMEOUT_S:.0f} s; nothing was changed."
        ) from None
    finally:
        for process in (reader, writer):
            with suppress(ProcessLookupError):
                process.kill()
    if reader.returncode or writer.returncode:
        raise DeploymentError(
            f"The backup {file.name} cannot be restored; nothing was changed: "
            f"{reader_error or writer_error}"
        )


async def _copy_dump(
    reader: asyncio.subprocess.Process, writer: asyncio.subprocess.Process
) -> None:
    """Copy the dump to psql; make the transaction fail if the reader ended with an error.

    psql commits at the end of its input, so a dump that ends too early would be committed.
    """
    if reader.stdout is None or writer.stdin is None:
        raise RuntimeError("both ends are pipes")
    with suppress(BrokenPipeError, ConnectionResetError):  # psql's own message has the cause
        writer.stdin.write(_SQL_BEFORE.encode())
        while part := await reader.stdout.read(1 << 16):
            writer.stdin.write(part)
            await writer.stdin.drain()
        is_complete = await reader.wait() == 0
        writer.stdin.write((_SQL_AFTER if is_complete else _SQL_FAILURE).encode())
        await writer.stdin.drain()
        writer.stdin.close()


async def _wait_for_exit(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """Return the exit status and the first lines of the last 2000 bytes of standard error."""
    tail = b""
    if process.stderr is not None:
        while part := await process.stderr.read(4096):
            tail = (tail + part)[-2000:]
    status = await process.wait()
    lines = [line for line in tail.decode(errors="replace").splitlines() if line.strip()]
    return status, " ".join(lines[:3])[:1000]


async def _run_program(program: str, database_url: str | None, *arguments: str) -> None:
    process = await _start_program(program, database_url, *arguments)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            status, error_text = await _wait_for_exit(process)
    except TimeoutError:
        raise DeploymentError(f"{program} did not end within {TIMEOUT_S:.0f} s.") from None
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    if status:
        raise DeploymentError(f"{program} failed with status {status}: {error_text}")


async def _start_program(
    program: str,
    database_url: str | None,
    *arguments: str,
    stdin: int = asyncio.subprocess.DEVNULL,
    stdout: int | None = None,
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        str(find_postgres_dir() / "bin" / program),
        *arguments,
        env={
            **MINIMAL_ENVIRONMENT,
            **(_make_connection_environment(database_url) if database_url else {}),
        },
        stdin=stdin,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
    )


def _make_connection_environment(database_url: str) -> Mapping[str, str]:
    """Convert a URL to libpq's variables: a password in an argument would be visible in `ps`."""
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
    """Sync the file to disk, then give it its final name."""
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
        log.info("backup_deleted", backup=old.name)
