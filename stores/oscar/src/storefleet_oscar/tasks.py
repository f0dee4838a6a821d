"""`dump`, `restore`, `orders`: what the platform asks for around an upgrade and on the way back.

Each leaves its answer, a line of JSON, where the container's termination message is read from.
"""

import json
import os
import re
import subprocess
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import psycopg

from storefleet_oscar import configuration, logs
from storefleet_oscar.configuration import Database
from storefleet_oscar.postgres import PROGRAMS
from storefleet_oscar.restore import SetupError, connect
from storefleet_oscar.setup import DatabaseAway

BACKUPS = Path(os.environ.get("STORE_BACKUPS_FOLDER", "/var/lib/storefleet/backups"))
ANSWER = Path(os.environ.get("STORE_ANSWER_FILE", "/dev/termination-log"))
KEPT = 3
LISTED = 20
PATIENCE = 30.0
LONGEST = 280
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
#: All that the store has made; what it does not own is not in a dump either.
_EMPTY = "SET lock_timeout = '30s';\nBEGIN;\nDROP SCHEMA public CASCADE;\nCREATE SCHEMA public;\n"


def dump() -> None:
    """Write the dump of this name, whole or not at all; one that is there stays. The newest three are kept."""
    database, path = _begin()
    if not path.exists():
        _write(database, path)
    for old in sorted(BACKUPS.glob("*.dump"), key=_made, reverse=True)[KEPT:]:
        if old != path:
            old.unlink()
    _answer({"bytes": path.stat().st_size, "at": _time(_made(path))})


def _write(database: Database, path: Path) -> None:
    for left in BACKUPS.glob("*.new"):  # by a run that was killed
        left.unlink()
    fresh, began = path.with_suffix(".new"), time.time()
    options = ("--format=custom", "--no-owner", "--no-privileges", f"--file={fresh}")
    done = subprocess.run(
        _program("pg_dump", database, *options),
        env=_environment(database),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    if done.returncode != 0:
        raise DatabaseAway(f"The database could not be dumped: {_last(done.stderr)}")
    os.utime(fresh, (began, began))
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    fresh.rename(path)
    _sync(path.parent)


def restore() -> None:
    """Put the dump of this name in place of all that the database holds, in one transaction."""
    database, path = _begin()
    if not path.exists():
        raise SetupError(f"There is no dump {path.stem}: the newest {KEPT} are kept.")
    options = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-")
    psql = subprocess.Popen(
        _program("psql", database, *options),
        env=_environment(database),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert psql.stdin is not None  # noqa: S101 - both are pipes
    assert psql.stderr is not None  # noqa: S101
    whole = _feed(psql.stdin, path)
    words = psql.stderr.read(1 << 16).decode(errors="replace")
    if psql.wait(LONGEST) != 0:
        raise SetupError(
            f"The dump {path.stem} could not be put back, and the database is as it was: {_last(words)}"
        )
    if not whole:
        raise SetupError(
            f"The dump {path.stem} cannot be read to its end, and the database is as it was."
        )
    _answer({"bytes": path.stat().st_size})


def _feed(psql: IO[bytes], path: Path) -> bool:
    """Write what is to be done; without the last word, which only a whole dump gets, nothing of it counts."""
    command = [str(PROGRAMS / "pg_restore"), "--no-owner", "--no-privileges", "--file=-", str(path)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None  # noqa: S101 - it is a pipe
        with suppress(BrokenPipeError):  # the other side has ended, and says why
            psql.write(_EMPTY.encode())
            while part := reader.stdout.read(1 << 16):
                psql.write(part)
            whole = reader.wait(LONGEST) == 0
            if whole:
                psql.write(b"COMMIT;\n")
            psql.close()
            return whole
        reader.kill()
    return True


def orders() -> None:
    """Those that came in after the time that STOREFLEET_SINCE says."""
    _begin()
    try:
        since = datetime.fromisoformat(os.environ.get("STOREFLEET_SINCE", ""))
    except ValueError:
        raise SetupError("STOREFLEET_SINCE is no time.") from None
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
            "at": _time(each.date_placed),
        }
        for each in found[:LISTED]
    ]
    _answer({"count": found.count(), "orders": listed})


# shared ---------------------------------------------------------------------------------------------------------------


def _begin() -> tuple[Database, Path]:
    """The store's database, which answers, and the dump that is meant."""
    logs.configure()
    name = os.environ.get("STOREFLEET_DUMP", "")
    if not _NAME.fullmatch(name):
        raise SetupError("STOREFLEET_DUMP names no dump.")
    database = configuration.current().database
    _wait_for(database)
    return database, BACKUPS / f"{name}.dump"


def _wait_for(database: Database) -> None:
    """A new pod's way to the database may be opened a moment after its start."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            connect(database).close()
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise DatabaseAway(f"The database does not answer: {_last(str(error))}") from None
            time.sleep(0.25)
        else:
            return


def _program(name: str, database: Database, *options: str) -> list[str]:
    place = (
        f"--host={database.host}",
        f"--port={database.port}",
        f"--username={database.user}",
        "--no-password",
    )
    return [str(PROGRAMS / name), *place, f"--dbname={database.name}", *options]


def _environment(database: Database) -> dict[str, str]:
    """The password is in no list of processes."""
    return {**os.environ, "PGPASSWORD": database.password, "PGCONNECT_TIMEOUT": "5"}


def _answer(content: dict[str, Any]) -> None:
    ANSWER.write_text(json.dumps(content), encoding="utf-8")


def _made(path: Path) -> float:
    return path.stat().st_mtime


def _time(moment: float | datetime) -> str:
    if not isinstance(moment, datetime):
        moment = datetime.fromtimestamp(moment, UTC)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _last(words: str) -> str:
    return (words.strip().splitlines() or ["without a word"])[-1][:300]


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
