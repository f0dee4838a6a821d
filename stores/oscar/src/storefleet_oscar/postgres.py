"""`database`: the PostgreSQL server of one store, in a container of its own.

Its first start does not make a cluster but copies the one that the image carries, which has the store's role and
database already, and gives the role its password.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Self

from storefleet_oscar.configuration import ConfigurationError, read_secret

PROGRAMS = Path(os.environ.get("STORE_POSTGRES_PROGRAMS", "/opt/postgresql/bin"))
#: Role and database of the store; `bake` makes both.
ROLE = DATABASE = "store"
SUPERUSER = MAINTENANCE = "postgres"
PATIENCE = 60


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where everything is; `folder` is the volume, and what is in its `data` is complete."""

    folder: Path
    settings: Path
    cluster: Path
    password_file: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @classmethod
    def from_environment(cls) -> Self:
        return cls(
            folder=_named("STORE_DATABASE_FOLDER"),
            settings=_named("STORE_DATABASE_SETTINGS"),
            cluster=_named("STORE_DATABASE_CLUSTER"),
            password_file=_named("STORE_DATABASE_PASSWORD_FILE"),
        )


def serve() -> NoReturn:
    """Become the server; raises ConfigurationError."""
    server = Server.from_environment()
    if not server.data.exists():
        make(server)
    files = {"config_file": "postgresql.conf", "hba_file": "pg_hba.conf"}
    options = [f"--{name}={server.settings / file}" for name, file in files.items()]
    program = PROGRAMS / "postgres"
    os.execv(program, [str(program), "-D", str(server.data), *options])  # noqa: S606 - it takes this process's place


def make(server: Server) -> None:
    """A cluster beside its place, moved there whole and safe on the disk: an interrupted one is never used."""
    password = read_secret(server.password_file, "the database's password")
    fresh = server.folder / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    # Not by Python's tarfile, which takes longer than all the rest of the first start.
    _run(
        ["tar", "--extract", f"--file={server.cluster}", f"--directory={fresh}", "--no-same-owner"]
    )
    run_alone(fresh, f"ALTER ROLE {ROLE} PASSWORD '{password.replace(chr(39), chr(39) * 2)}'")
    _run([str(PROGRAMS / "initdb"), "--sync-only", "-D", str(fresh)])
    fresh.rename(server.data)
    descriptor = os.open(server.folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def run_alone(data: Path, *statements: str) -> None:
    """Run statements on a cluster without a server; they are on its standard input, so in no list of processes."""
    script = "".join(f"{statement};\n" for statement in statements)
    settings = ("-c", "fsync=off", "-c", "log_min_error_statement=panic", "-c", "exit_on_error=on")
    _run(
        [str(PROGRAMS / "postgres"), "--single", "-D", str(data), *settings, "template1"],
        script=script,
    )


def _run(command: list[str], *, script: str = "") -> None:
    done = subprocess.run(
        command, input=script, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    if done.returncode != 0 or "ERROR:" in done.stderr:
        words = done.stderr.strip().splitlines() or ["without a word"]
        raise ConfigurationError(
            f"{Path(command[0]).name} failed on the store's database: {words[-1]}"
        )


def _named(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        raise ConfigurationError(f"{variable} names no file or folder")
    return Path(value)
