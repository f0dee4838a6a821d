"""Shared parts of the tasks: find the dump, wait for the database, run its programs, answer."""

import json
import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from storefleet_oscar import configuration, logs
from storefleet_oscar.configuration import Database
from storefleet_oscar.postgres import PROGRAMS
from storefleet_oscar.setup import DatabaseUnavailable
from storefleet_oscar.template_restore import SetupError, connect_database

BACKUPS_FOLDER = Path(os.environ.get("STORE_BACKUPS_FOLDER", "/var/lib/storefleet/backups"))
ANSWER_FILE = Path(os.environ.get("STORE_ANSWER_FILE", "/dev/termination-log"))
CONNECT_DEADLINE_S = 30.0
_DUMP_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")


def begin_task() -> tuple[Database, Path]:
    """Wait for the store's database and return it with the path of the requested dump."""
    logs.configure_logging()
    name = os.environ.get("STOREFLEET_DUMP", "")
    if not _DUMP_NAME.fullmatch(name):
        raise SetupError("STOREFLEET_DUMP is not a valid name of a dump.")
    database = configuration.load_store().database
    _wait_for_connection(database)
    return database, BACKUPS_FOLDER / f"{name}.dump"


def _wait_for_connection(database: Database) -> None:
    """Connect with retries; network policies may admit a new pod a moment after its start."""
    deadline = time.monotonic() + CONNECT_DEADLINE_S
    while True:
        try:
            connect_database(database).close()
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(
                    f"The database does not answer: {get_last_line(str(error))}"
                ) from None
            time.sleep(0.25)
        else:
            return


def build_command(program: str, database: Database, *options: str) -> list[str]:
    """Build the command line of a PostgreSQL client program, without the password."""
    place = (
        f"--host={database.host}",
        f"--port={database.port}",
        f"--username={database.user}",
        "--no-password",
    )
    return [str(PROGRAMS / program), *place, f"--dbname={database.name}", *options]


def build_environment(database: Database) -> dict[str, str]:
    """Build the environment with the password, which so appears in no process list."""
    return {**os.environ, "PGPASSWORD": database.password, "PGCONNECT_TIMEOUT": "5"}


def write_answer(content: dict[str, Any]) -> None:
    """Write the task's result as JSON to the container's termination message."""
    ANSWER_FILE.write_text(json.dumps(content), encoding="utf-8")


def format_time(moment: float | datetime) -> str:
    """Format a time as ISO 8601 in UTC with milliseconds."""
    if not isinstance(moment, datetime):
        moment = datetime.fromtimestamp(moment, UTC)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def get_last_line(output: str) -> str:
    """Return the last line of a program's error output, at most 300 characters."""
    return (output.strip().splitlines() or ["it printed no message"])[-1][:300]
