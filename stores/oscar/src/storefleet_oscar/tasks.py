"""`dump`, `restore`, `orders`: the tasks that the platform runs around upgrades and rollbacks.

Each writes its result, a line of JSON, to the container's termination message.
"""

import os
import subprocess
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO

from storefleet_oscar.configuration import Database
from storefleet_oscar.copies import sync_to_disk
from storefleet_oscar.postgres import PROGRAMS
from storefleet_oscar.setup import DatabaseUnavailable
from storefleet_oscar.task_support import (
    BACKUPS_FOLDER,
    begin_task,
    build_command,
    build_environment,
    format_time,
    get_last_line,
    write_answer,
)
from storefleet_oscar.template_restore import SetupError

KEPT_DUMPS = 3
LISTED_ORDERS = 20
PROGRAM_TIMEOUT_S = 280
#: Drops everything that the store created; a dump contains only what the store owns.
_DROP_ALL = (
    "SET lock_timeout = '30s';\nBEGIN;\nDROP SCHEMA public CASCADE;\nCREATE SCHEMA public;\n"
)


def dump_database() -> None:
    """Write the dump of the requested name atomically, or keep the one that exists.

    The newest three dumps are kept.
    """
    database, path = begin_task()
    if not path.exists():
        _write_dump(database, path)
    for old in sorted(BACKUPS_FOLDER.glob("*.dump"), key=_get_time, reverse=True)[KEPT_DUMPS:]:
        if old != path:
            old.unlink()
    write_answer({"bytes": path.stat().st_size, "at": format_time(_get_time(path))})


def _write_dump(database: Database, path: Path) -> None:
    for leftover in BACKUPS_FOLDER.glob("*.new"):  # of a run that was killed
        leftover.unlink()
    fresh, began = path.with_suffix(".new"), time.time()
    options = ("--format=custom", "--no-owner", "--no-privileges", f"--file={fresh}")
    done = subprocess.run(
        build_command("pg_dump", database, *options),
        env=build_environment(database),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PROGRAM_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise DatabaseUnavailable(f"The database cannot be dumped: {get_last_line(done.stderr)}")
    os.utime(fresh, (began, began))
    sync_to_disk(fresh)
    fresh.rename(path)
    sync_to_disk(path.parent)


def restore_database() -> None:
    """Replace the database's content by the dump of the requested name, in one transaction."""
    database, path = begin_task()
    if not path.exists():
        raise SetupError(f"The dump {path.stem} does not exist. The newest {KEPT_DUMPS} are kept.")
    options = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-")
    psql = subprocess.Popen(
        build_command("psql", database, *options),
        env=build_environment(database),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert psql.stdin is not None  # noqa: S101 - both are pipes
    assert psql.stderr is not None  # noqa: S101
    is_complete = _send_script(psql.stdin, path)
    output = psql.stderr.read(1 << 16).decode(errors="replace")
    if psql.wait(PROGRAM_TIMEOUT_S) != 0:
        raise SetupError(
            f"The dump {path.stem} cannot be restored: {get_last_line(output)}."
            " The database is unchanged."
        )
    if not is_complete:
        raise SetupError(
            f"The dump {path.stem} cannot be read to its end. The database is unchanged."
        )
    write_answer({"bytes": path.stat().st_size})


def _send_script(psql: IO[bytes], path: Path) -> bool:
    """Send the restore script to psql; only a complete dump is followed by COMMIT."""
    command = [str(PROGRAMS / "pg_restore"), "--no-owner", "--no-privileges", "--file=-", str(path)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None  # noqa: S101 - it is a pipe
        with suppress(BrokenPipeError):  # psql has ended; its exit status and output say why
            psql.write(_DROP_ALL.encode())
            while part := reader.stdout.read(1 << 16):
                psql.write(part)
            is_complete = reader.wait(PROGRAM_TIMEOUT_S) == 0
            if is_complete:
                psql.write(b"COMMIT;\n")
            psql.close()
            return is_complete
        reader.kill()
    return True


def list_orders() -> None:
    """Report how many orders were placed after STOREFLEET_SINCE, and the first 20 of them."""
    begin_task()
    try:
        since = datetime.fromisoformat(os.environ.get("STOREFLEET_SINCE", ""))
    except ValueError:
        raise SetupError("STOREFLEET_SINCE is not a time in ISO 8601 format.") from None
    import django

    django.setup()
    from oscar.core.loading import get_model

    found = (
        get_model("order", "Order").objects.filter(date_placed__gt=since).order_by("date_placed")
    )
    listed = [
        {
            "number": each.number,
            "total": f"{each.currency} {each.total_incl_tax}",
            "at": format_time(each.date_placed),
        }
        for each in found[:LISTED_ORDERS]
    ]
    write_answer({"count": found.count(), "orders": listed})


def _get_time(path: Path) -> float:
    return path.stat().st_mtime
