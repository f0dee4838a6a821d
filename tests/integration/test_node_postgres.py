"""The embedded PostgreSQL: privileges of its roles, and recovery from crashes."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from storefleet.node.node_error import NodeError
from storefleet.node.ports import choose_port
from storefleet.node.private_files import create_folder
from storefleet.node.processes.process_records import read_records
from storefleet.node.processes.supervisor import Supervisor
from storefleet.node.servers.postgres import PostgresServer
from storefleet.node.servers.roles import (
    MAINTENANCE_DATABASE,
    PLATFORM_DATABASE,
    PLATFORM_ROLE,
    STORES_ROLE,
    SUPERUSER,
)
from storefleet.node.system_user import ensure_account
from tests.support.services.polling import eventually


class Cluster:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records = create_folder(folder / "pids")
        self.log = folder / "postgres.log"
        self.port = choose_port(None)
        self.supervisor = Supervisor(records_dir=self.records)
        self.server = PostgresServer(
            folder=folder / "postgres",
            secrets_dir=create_folder(folder / "secrets"),
            records_dir=self.records,
            log_file=self.log,
            port=self.port,
            account=ensure_account(),
        )

    async def start(self) -> None:
        await self.server.prepare_cluster()
        self.supervisor.start(self.server.make_child())
        await self.server.wait_until_ready(lambda: self.supervisor.get_status("postgres"))
        await self.server.ensure_roles()

    async def answer(
        self, role: str, database: str, statement: str = "SELECT 1", password: str | None = None
    ) -> object:
        """Run a statement as a role; return its value, or the name of the error."""
        url = self.server.make_url(role, database)
        try:
            connection = (
                await asyncpg.connect(url)
                if password is None
                else await asyncpg.connect(url, password=password)
            )
        except asyncpg.PostgresError as error:
            return type(error).__name__
        try:
            return await connection.fetchval(statement)
        except asyncpg.PostgresError as error:
            return type(error).__name__
        finally:
            await connection.close()


@contextlib.contextmanager
def reachable_folder() -> Iterator[Path]:
    """Create a folder that is closed to other users, like a checkout in a home folder."""
    folder = Path(tempfile.mkdtemp(prefix="storefleet-tests-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cluster() -> AsyncIterator[Cluster]:
    with reachable_folder() as folder:
        cluster = Cluster(folder)
        try:
            await cluster.start()
            yield cluster
        finally:
            await cluster.supervisor.stop_all()


@pytest.mark.parametrize("role", [SUPERUSER, PLATFORM_ROLE, STORES_ROLE])
async def test_wrong_password_is_rejected(cluster: Cluster, role: str) -> None:
    assert (
        await cluster.answer(role, MAINTENANCE_DATABASE, password="wrong") == "InvalidPasswordError"
    )
    assert await cluster.answer(role, MAINTENANCE_DATABASE, password="") == "InvalidPasswordError"


@pytest.mark.parametrize(
    ("role", "database", "expected"),
    [
        (PLATFORM_ROLE, PLATFORM_DATABASE, 1),
        (PLATFORM_ROLE, MAINTENANCE_DATABASE, "InsufficientPrivilegeError"),
        (PLATFORM_ROLE, "template1", "InsufficientPrivilegeError"),
        (STORES_ROLE, MAINTENANCE_DATABASE, 1),
        (STORES_ROLE, PLATFORM_DATABASE, "InsufficientPrivilegeError"),
        (STORES_ROLE, "template1", "InsufficientPrivilegeError"),
    ],
)
async def test_role_connects_only_to_permitted_databases(
    cluster: Cluster, role: str, database: str, expected: object
) -> None:
    assert await cluster.answer(role, database) == expected


async def test_roles_cannot_extend_their_privileges(cluster: Cluster) -> None:
    grow = "CREATE ROLE more SUPERUSER"
    assert (
        await cluster.answer(PLATFORM_ROLE, PLATFORM_DATABASE, grow) == "InsufficientPrivilegeError"
    )
    assert (
        await cluster.answer(STORES_ROLE, MAINTENANCE_DATABASE, grow)
        == "InsufficientPrivilegeError"
    )
    steal = f"ALTER ROLE {PLATFORM_ROLE} PASSWORD 'x'"
    assert (
        await cluster.answer(STORES_ROLE, MAINTENANCE_DATABASE, steal)
        == "InsufficientPrivilegeError"
    )
    run = "COPY (SELECT 1) TO PROGRAM 'true'"
    assert (
        await cluster.answer(STORES_ROLE, MAINTENANCE_DATABASE, run) == "InsufficientPrivilegeError"
    )


async def test_store_role_connects_only_to_its_own_database(cluster: Cluster) -> None:
    maker = await asyncpg.connect(cluster.server.make_url(STORES_ROLE, MAINTENANCE_DATABASE))
    for name in ("st_one", "st_two"):
        await maker.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
        await maker.execute(f"CREATE DATABASE {name} OWNER {name}")
        await maker.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
    for database in ("st_two", PLATFORM_DATABASE, MAINTENANCE_DATABASE, "template1"):
        assert (
            await cluster.answer("st_one", database, password="secret")
            == "InsufficientPrivilegeError"
        )
    assert await cluster.answer("st_one", "st_one", password="secret") == 1
    for name in ("st_one", "st_two"):
        await maker.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await maker.execute(f"DROP ROLE {name}")
    await maker.close()


async def test_server_listens_on_loopback_only(cluster: Cluster) -> None:
    shown = "SELECT string_agg(setting, ';' ORDER BY name) FROM pg_settings WHERE name IN"
    names = "('fsync', 'listen_addresses', 'max_connections', 'unix_socket_directories')"
    assert (
        await cluster.answer(SUPERUSER, MAINTENANCE_DATABASE, f"{shown} {names}")
        == "on;127.0.0.1;400;"
    )


def test_server_files_are_private(cluster: Cluster) -> None:
    for path in (
        *(cluster.folder / "postgres").iterdir(),
        *(cluster.folder / "secrets").iterdir(),
        cluster.log,
    ):
        assert path.stat().st_mode & 0o007 == 0, path


async def test_log_and_process_contain_no_password(cluster: Cluster) -> None:
    secrets = [path.read_text() for path in (cluster.folder / "secrets").iterdir()]
    status = cluster.supervisor.get_status("postgres")
    assert status is not None
    seen = cluster.log.read_text() + "".join(
        Path(f"/proc/{status.pid}/{name}").read_text(errors="replace")
        for name in ("cmdline", "environ")
    )
    assert len(secrets) >= 3
    assert not [secret for secret in secrets if secret in seen]


async def test_killed_server_is_restarted(cluster: Cluster) -> None:
    status = cluster.supervisor.get_status("postgres")
    assert status is not None
    assert status.pid is not None
    before = status.restarts
    os.kill(status.pid, signal.SIGKILL)
    await eventually(lambda: status.restarts > before and status.state == "running")
    await cluster.server.wait_until_ready(lambda: cluster.supervisor.get_status("postgres"))
    assert await cluster.answer(PLATFORM_ROLE, PLATFORM_DATABASE) == 1


async def test_lock_file_of_another_process_does_not_prevent_start(cluster: Cluster) -> None:
    await cluster.supervisor.stop_all()
    other = subprocess.Popen(["sleep", "60"])
    lock = cluster.folder / "postgres" / "data" / "postmaster.pid"
    lock.write_text(
        f"{other.pid}\n{cluster.folder / 'postgres' / 'data'}\n1\n{cluster.port}\n\n127.0.0.1\n"
    )
    lock.chmod(0o600)
    if account := ensure_account():
        os.chown(lock, account.uid, account.gid)
    await cluster.start()
    other.kill()
    other.wait()
    assert await cluster.answer(PLATFORM_ROLE, PLATFORM_DATABASE) == 1


async def test_wrong_superuser_password_is_explained(cluster: Cluster) -> None:
    secret = cluster.folder / "secrets" / f"postgres_{SUPERUSER}"
    kept = secret.read_text()
    secret.write_text("another")
    try:
        with pytest.raises(NodeError, match=r"rejects the node's password"):
            await cluster.server.ensure_roles()
    finally:
        secret.write_text(kept)


async def test_interrupted_initdb_is_repeated() -> None:
    with reachable_folder() as folder:
        cluster = Cluster(folder)
        preparing = asyncio.create_task(cluster.server.prepare_cluster())
        base = folder / "postgres" / "data.new" / "base"
        await eventually(base.exists, every=0.005)
        [record] = read_records(cluster.records)
        os.kill(record.pid, signal.SIGKILL)
        with pytest.raises(NodeError, match=r"cluster cannot be created"):
            await preparing
        assert not (folder / "postgres" / "data").exists()
        assert not (folder / "postgres" / "password.new").exists()
        try:
            await cluster.start()
            assert await cluster.answer(PLATFORM_ROLE, PLATFORM_DATABASE) == 1
        finally:
            await cluster.supervisor.stop_all()


async def test_failed_start_is_explained() -> None:
    with reachable_folder() as folder:
        cluster = Cluster(folder)
        await cluster.server.prepare_cluster()
        (folder / "postgres" / "data" / "PG_VERSION").write_text("9.6\n")
        cluster.supervisor.start(cluster.server.make_child())
        with pytest.raises(NodeError, match=r"PostgreSQL does not start: .*9.6"):
            await cluster.server.wait_until_ready(lambda: cluster.supervisor.get_status("postgres"))
        await cluster.supervisor.stop_all()
