"""The embedded PostgreSQL server: its cluster, its settings, its process, and its roles.

The programs come from a Python package. The settings also serve the platform's PostgreSQL
container (`deployment/servers.py`).
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from storefleet.node.node_error import NodeError
from storefleet.node.private_files import (
    create_owned_folder,
    create_readable_folder,
    load_or_create_secret,
    write_file,
)
from storefleet.node.processes.launcher import ChildProcess, read_last_line, run_to_completion
from storefleet.node.processes.supervisor import ChildStatus
from storefleet.node.servers.roles import (
    MAINTENANCE_DATABASE,
    PLATFORM_ROLE,
    STORES_ROLE,
    SUPERUSER,
    ensure_roles,
)
from storefleet.node.servers.server_programs import find_postgres_dir
from storefleet.node.servers.sql import (
    PasswordRejected,
    ServerConnection,
    ServerError,
    ServerUnavailable,
    StatementRejected,
    open_connection,
)
from storefleet.node.system_user import SystemAccount

#: Sized for fifty stores with five connections each, four services, and manual sessions.
POSTGRES_SETTINGS = {
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
    "autovacuum_naptime": "3min",  # within it, each of fifty databases is vacuumed once
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
#: Every connection needs a password: no Unix sockets, no `trust`, not even for the superuser.
HBA_RULE = "host all all {network} scram-sha-256\n"


class PostgresServer:
    """An embedded server with one database cluster.

    Args:
        folder: The folder of the cluster and its configuration.
        secrets_dir: The folder of the roles' passwords; missing ones are created.
        records_dir: The folder of the process records.
        log_file: The log of the server.
        port: The port.
        account: The system account that the server runs as; None is the current user.
        listen: The address to listen on; only loopback restricts clients to this machine.
    """

    name = "postgres"

    def __init__(
        self,
        *,
        folder: Path,
        secrets_dir: Path,
        records_dir: Path,
        log_file: Path,
        port: int,
        account: SystemAccount | None,
        listen: str = LOOPBACK,
    ) -> None:
        self._folder = folder
        self._data_dir = folder / "data"
        self._secrets_dir = secrets_dir
        self._records_dir = records_dir
        self._log_file = log_file
        self._port = port
        self._account = account
        self._listen = listen
        self._programs_dir = find_postgres_dir()

    def make_url(self, role: str, database: str) -> str:
        """Make the URL of a database for a role, with the password."""
        password = quote(self._load_password(role))
        return f"postgresql://{role}:{password}@127.0.0.1:{self._port}/{database}"

    async def prepare_cluster(self) -> None:
        """Create the cluster if there is none, and write its configuration files.

        Raises:
            NodeError: initdb failed.
            TimeoutError: initdb took more than two minutes.
        """
        create_readable_folder(self._folder, self._account)
        if not self._data_dir.exists():
            await self._create_cluster()
        own = {"listen_addresses": self._listen, "port": str(self._port)}
        lines = [f"{name} = '{value}'" for name, value in {**POSTGRES_SETTINGS, **own}.items()]
        write_file(self._folder / "postgresql.conf", "\n".join(lines) + "\n", readers=self._account)
        access = HBA_RULE.format(network=f"{LOOPBACK}/32" if self._listen == LOOPBACK else "all")
        write_file(self._folder / "pg_hba.conf", access, readers=self._account)

    def make_child(self) -> ChildProcess:
        """Describe the server's process."""
        files = {"config_file": "postgresql.conf", "hba_file": "pg_hba.conf"}
        options = [f"--{name}={self._folder / file}" for name, file in files.items()]
        return ChildProcess(
            name=self.name,
            argv=(
                str(self._programs_dir / "bin" / "postgres"),
                "-D",
                str(self._data_dir),
                *options,
            ),
            cwd=self._folder,
            log_file=self._log_file,
            rank=0,
            account=self._account,
            readable_paths=self._list_readable_paths(),
            stop_signals=((signal.SIGINT, 8.0), (signal.SIGQUIT, 4.0)),
            prepare=self._prepare_start,
        )

    async def wait_until_ready(self, get_status: Callable[[], ChildStatus | None]) -> None:
        """Wait until the server accepts a connection.

        Args:
            get_status: Returns the status of the server's process.

        Raises:
            NodeError: The server keeps ending, or rejects the node's password.
        """
        while True:
            with contextlib.suppress(ServerUnavailable, StatementRejected):
                connection = await self._connect_as_superuser()
                await connection.close()
                return
            status = get_status()
            if status is None or status.restarts > 4:
                raise NodeError(
                    f"PostgreSQL does not start: {read_last_line(self._log_file)}. "
                    f"Read its log {self._log_file}."
                )
            await asyncio.sleep(0.02)

    async def ensure_roles(self) -> None:
        """Create or correct the roles, the platform's database and the connect privileges.

        Raises:
            NodeError: The server is unavailable or rejects a statement.
        """
        connection = await self._connect_as_superuser()
        try:
            await ensure_roles(
                connection,
                {role: self._load_password(role) for role in (PLATFORM_ROLE, STORES_ROLE)},
            )
        except ServerError as error:
            raise NodeError(
                f"The roles of PostgreSQL cannot be set up: {error}. Read its log {self._log_file}."
            ) from None
        finally:
            await connection.close()

    def _load_password(self, role: str) -> str:
        return load_or_create_secret(self._secrets_dir / f"postgres_{role}")

    def _list_readable_paths(self) -> tuple[Path, ...]:
        libraries = self._programs_dir.parent.with_name(f"{self._programs_dir.parent.name}.libs")
        return (
            self._folder,
            self._programs_dir.parent,
            *((libraries,) if libraries.exists() else ()),
        )

    async def _connect_as_superuser(self) -> ServerConnection:
        try:
            return await open_connection(self.make_url(SUPERUSER, MAINTENANCE_DATABASE))
        except PasswordRejected:
            password_file = self._secrets_dir / f"postgres_{SUPERUSER}"
            raise NodeError(
                f"PostgreSQL rejects the node's password: {password_file} does not belong to the "
                f"cluster {self._data_dir}. Restore that file, or move both folders to another "
                "place to start with an empty cluster."
            ) from None

    async def _create_cluster(self) -> None:
        """Create the cluster in a temporary folder, so that an interrupted initdb is never used."""
        fresh, password = self._folder / "data.new", self._folder / "password.new"
        shutil.rmtree(fresh, ignore_errors=True)
        create_owned_folder(fresh, self._account)
        write_file(password, self._load_password(SUPERUSER), readers=self._account)
        log_size_bytes = self._log_file.stat().st_size if self._log_file.exists() else 0
        options = (
            "--auth=scram-sha-256",
            f"--pwfile={password}",
            f"--username={SUPERUSER}",
            "--encoding=UTF8",
            "--no-locale",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
        )
        child = ChildProcess(
            name="initdb",
            argv=(str(self._programs_dir / "bin" / "initdb"), "-D", str(fresh), *options),
            cwd=self._folder,
            log_file=self._log_file,
            account=self._account,
            readable_paths=self._list_readable_paths(),
        )
        try:
            code = await run_to_completion(child, records_dir=self._records_dir, timeout_s=120)
        finally:
            password.unlink(missing_ok=True)
        if code != 0:
            reason = _find_error(self._log_file, log_size_bytes)
            raise NodeError(
                f"The PostgreSQL cluster cannot be created: {reason}. "
                f"Read the log {self._log_file}."
            )
        fresh.rename(self._data_dir)

    async def _prepare_start(self) -> None:
        await asyncio.to_thread(self._delete_stale_lock)

    def _delete_stale_lock(self) -> None:
        """Delete the lock file of a killed server if its process id belongs to another program."""
        lock = self._data_dir / "postmaster.pid"
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int(lock.read_text(encoding="ascii").split()[0])
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if os.fsencode(self._data_dir) not in arguments:
                lock.unlink()


def _find_error(log_file: Path, offset_bytes: int) -> str:
    """Find the error in the output of initdb; its last line only names the deleted files."""
    errors = re.findall(
        r"(?:FATAL|PANIC|error): +(.+)",
        log_file.read_bytes()[offset_bytes:].decode("utf-8", "replace"),
    )
    return errors[-1].strip() if errors else read_last_line(log_file)
