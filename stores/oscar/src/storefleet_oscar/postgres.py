"""`database`: the PostgreSQL server of one store, in a container of its own.

The first start does not run initdb. It copies the cluster that the image carries, which already
has the store's role and database, and sets the role's password.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Self

from storefleet_oscar.configuration import ConfigurationError, read_secret
from storefleet_oscar.copies import sync_to_disk

PROGRAMS = Path(os.environ.get("STORE_POSTGRES_PROGRAMS", "/opt/postgresql/bin"))
#: Role and database of the store; `bake` creates both.
ROLE = DATABASE = "store"
SUPERUSER = MAINTENANCE = "postgres"
TIMEOUT_S = 60


@dataclass(frozen=True, kw_only=True)
class ServerPaths:
    """Files and folders of the server; `folder` is the volume."""

    folder: Path
    settings: Path
    cluster: Path
    password_file: Path

    @property
    def data(self) -> Path:
        """The server's data folder; if it exists, it is complete."""
        return self.folder / "data"

    @classmethod
    def from_environment(cls) -> Self:
        """Read the paths from the variables STORE_DATABASE_*; raises ConfigurationError."""
        return cls(
            folder=_read_path_variable("STORE_DATABASE_FOLDER"),
            settings=_read_path_variable("STORE_DATABASE_SETTINGS"),
            cluster=_read_path_variable("STORE_DATABASE_CLUSTER"),
            password_file=_read_path_variable("STORE_DATABASE_PASSWORD_FILE"),
        )


def run_server() -> NoReturn:
    """Replace this process by the PostgreSQL server; raises ConfigurationError."""
    paths = ServerPaths.from_environment()
    if not paths.data.exists():
        create_cluster(paths)
    files = {"config_file": "postgresql.conf", "hba_file": "pg_hba.conf"}
    options = [f"--{name}={paths.settings / file}" for name, file in files.items()]
    program = PROGRAMS / "postgres"
    os.execv(program, [str(program), "-D", str(paths.data), *options])  # noqa: S606 - replaces this process


def create_cluster(paths: ServerPaths) -> None:
    """Create the data folder from the image's cluster.

    It is built beside its final place, flushed and renamed, so an interrupted copy is never used.
    """
    password = read_secret(paths.password_file, "the database's password")
    fresh = paths.folder / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    # Python's tarfile would take longer than the rest of the first start.
    _run_program(
        ["tar", "--extract", f"--file={paths.cluster}", f"--directory={fresh}", "--no-same-owner"]
    )
    run_single_user(fresh, f"ALTER ROLE {ROLE} PASSWORD '{password.replace(chr(39), chr(39) * 2)}'")
    _run_program([str(PROGRAMS / "initdb"), "--sync-only", "-D", str(fresh)])
    fresh.rename(paths.data)
    sync_to_disk(paths.folder)


def run_single_user(data: Path, *statements: str) -> None:
    """Run SQL statements on a cluster in single-user mode.

    They are passed on standard input, so that no process list shows a password.
    """
    script = "".join(f"{statement};\n" for statement in statements)
    settings = ("-c", "fsync=off", "-c", "log_min_error_statement=panic", "-c", "exit_on_error=on")
    _run_program(
        [str(PROGRAMS / "postgres"), "--single", "-D", str(data), *settings, "template1"],
        script=script,
    )


def _run_program(command: list[str], *, script: str = "") -> None:
    done = subprocess.run(
        command, input=script, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    if done.returncode != 0 or "ERROR:" in done.stderr:
        messages = done.stderr.strip().splitlines() or ["it printed no message"]
        raise ConfigurationError(
            f"{Path(command[0]).name} failed on the store's database: {messages[-1]}"
        )


def _read_path_variable(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        raise ConfigurationError(f"{variable} does not name a file or folder")
    return Path(value)
