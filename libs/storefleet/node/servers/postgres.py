"""The embedded PostgreSQL: made once, run from the wheel's own programs, its roles brought to what they should be."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import asyncpg

from storefleet.node.node_error import NodeError
from storefleet.node.private_files import give_folder, kept_secret, share_folder, write_file
from storefleet.node.processes.launcher import Child, last_line, run_to_end
from storefleet.node.processes.supervisor import Status
from storefleet.node.servers.roles import (
    MAINTENANCE_DATABASE,
    PLATFORM_ROLE,
    STORES_ROLE,
    SUPERUSER,
    ensure_roles,
)
from storefleet.node.servers.server_programs import postgres_folder
from storefleet.node.servers.sql import Connection, connect
from storefleet.node.system_user import Account

#: Fifty stores with five connections each, four services, and room for people who look.
SETTINGS = {
    "unix_socket_directories": "",
    "max_connections": "400",
    "password_encryption": "scram-sha-256",
    "shared_buffers": "64MB",
    "huge_pages": "off",
    "io_method": "sync",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "max_worker_processes": "4",
    "max_logical_replication_workers": "0",
    "autovacuum_max_workers": "2",
    "autovacuum_naptime": "3min",  # each of fifty databases gets a visit of its own within it
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "512MB",
    "recovery_init_sync_method": "syncfs",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
    "update_process_title": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
LOOPBACK = "127.0.0.1"
#: Whoever comes gives a password: no sockets, no trust, not even for the superuser.
ACCESS = "host all all {network} scram-sha-256\n"


class Postgres:
    """One cluster in `folder`, on loopback unless `listen` names another address; the passwords are in `secrets`."""

    name = "postgres"

    def __init__(
        self,
        *,
        folder: Path,
        secrets: Path,
        records: Path,
        log: Path,
        port: int,
        account: Account | None,
        listen: str = LOOPBACK,
    ) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._secrets = secrets
        self._records = records
        self._log = log
        self._port = port
        self._account = account
        self._listen = listen
        self._programs = postgres_folder()

    def url(self, role: str, database: str) -> str:
        return (
            f"postgresql://{role}:{quote(self._password(role))}@127.0.0.1:{self._port}/{database}"
        )

    async def prepare(self) -> None:
        """Make the cluster when there is none, and write its settings."""
        share_folder(self._folder, self._account)
        if not self._data.exists():
            await self._initialise()
        own = {"listen_addresses": self._listen, "port": str(self._port)}
        lines = [f"{name} = '{value}'" for name, value in {**SETTINGS, **own}.items()]
        write_file(self._folder / "postgresql.conf", "\n".join(lines) + "\n", readers=self._account)
        access = ACCESS.format(network=f"{LOOPBACK}/32" if self._listen == LOOPBACK else "all")
        write_file(self._folder / "pg_hba.conf", access, readers=self._account)

    def child(self) -> Child:
        files = {"config_file": "postgresql.conf", "hba_file": "pg_hba.conf"}
        options = [f"--{name}={self._folder / file}" for name, file in files.items()]
        return Child(
            name=self.name,
            argv=(str(self._programs / "bin" / "postgres"), "-D", str(self._data), *options),
            cwd=self._folder,
            log=self._log,
            rank=0,
            account=self._account,
            reach=self._reach(),
            endings=((signal.SIGINT, 8.0), (signal.SIGQUIT, 4.0)),
            before=self._forget_dead_owner,
        )

    async def ready(self, status: Callable[[], Status | None]) -> None:
        """Wait until it answers; raises NodeError with its own last words when it does not come up."""
        while True:
            with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError):
                connection = await self._connect()
                await connection.close()
                return
            seen = status()
            if seen is None or seen.restarts > 4:
                raise NodeError(
                    f"PostgreSQL does not start: {last_line(self._log)} (more in {self._log})."
                )
            await asyncio.sleep(0.02)

    async def ensure_roles(self) -> None:
        """Bring roles, the platform's database and who may connect to what they should be."""
        connection = await self._connect()
        try:
            await ensure_roles(
                connection, {role: self._password(role) for role in (PLATFORM_ROLE, STORES_ROLE)}
            )
        except asyncpg.PostgresError as error:
            raise NodeError(
                f"PostgreSQL could not be set up: {error} (more in {self._log})."
            ) from None
        finally:
            await connection.close()

    def _password(self, role: str) -> str:
        return kept_secret(self._secrets / f"postgres_{role}")

    def _reach(self) -> tuple[Path, ...]:
        libraries = self._programs.parent.with_name(f"{self._programs.parent.name}.libs")
        return (self._folder, self._programs.parent, *((libraries,) if libraries.exists() else ()))

    async def _connect(self) -> Connection:
        try:
            return await connect(self.url(SUPERUSER, MAINTENANCE_DATABASE))
        except asyncpg.InvalidPasswordError:
            raise NodeError(
                f"PostgreSQL refuses the node's password ({self._secrets / f'postgres_{SUPERUSER}'}): put the "
                f"file that belongs to {self._data} back, or move both folders away to begin anew."
            ) from None

    async def _initialise(self) -> None:
        """Make the cluster beside its place and move it there whole, so that an interrupted one is never used."""
        fresh, password = self._folder / "data.new", self._folder / "password.new"
        shutil.rmtree(fresh, ignore_errors=True)
        give_folder(fresh, self._account)
        write_file(password, self._password(SUPERUSER), readers=self._account)
        begin = self._log.stat().st_size if self._log.exists() else 0
        options = (
            *("--auth=scram-sha-256", f"--pwfile={password}", f"--username={SUPERUSER}"),
            *(
                "--encoding=UTF8",
                "--no-locale",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
            ),
            "--no-instructions",
        )
        child = Child(
            name="initdb",
            argv=(str(self._programs / "bin" / "initdb"), "-D", str(fresh), *options),
            cwd=self._folder,
            log=self._log,
            account=self._account,
            reach=self._reach(),
        )
        try:
            code = await run_to_end(child, records=self._records, timeout=120)
        finally:
            password.unlink(missing_ok=True)
        if code != 0:
            raise NodeError(
                f"PostgreSQL could not be set up: {_complaint(self._log, begin)} (more in {self._log})."
            )
        fresh.rename(self._data)

    async def _forget_dead_owner(self) -> None:
        await asyncio.to_thread(self._drop_lock)

    def _drop_lock(self) -> None:
        """Remove the lock file of a killed server when its number now belongs to another program."""
        lock = self._data / "postmaster.pid"
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int(lock.read_text(encoding="ascii").split()[0])
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if os.fsencode(self._data) not in arguments:
                lock.unlink()


def _complaint(log: Path, begin: int) -> str:
    """The error among what initdb wrote; its last line only says what it removes."""
    errors = re.findall(
        r"(?:FATAL|PANIC|error): +(.+)", log.read_bytes()[begin:].decode("utf-8", "replace")
    )
    return errors[-1].strip() if errors else last_line(log)
