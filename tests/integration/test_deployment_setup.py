"""Set-up of a deployment on real servers: creates what is missing, waits for servers."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from storefleet.auth import tenants
from storefleet.auth.sessions import Sessions
from storefleet.auth.tenants import NewTenant
from storefleet.auth.tokens import Tokens
from storefleet.core.errors import MessagingUnavailable
from storefleet.core.messages import COMMAND_STREAM, DEAD_LETTER_STREAM, EVENT_STREAM
from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.deployment.deployment_error import DependencyNotReady, DeploymentError
from storefleet.deployment.servers import prepare_nats
from storefleet.deployment.setup import SetupInput, set_up_deployment, wait_for_schema
from storefleet.messaging import MessageBus
from storefleet.node.private_files import create_folder
from storefleet.node.processes.launcher import ChildProcess
from storefleet.node.processes.supervisor import Supervisor
from storefleet.node.servers.nats_server import PERMISSIONS
from storefleet.node.servers.roles import (
    MAINTENANCE_DATABASE,
    PLATFORM_DATABASE,
    PLATFORM_ROLE,
    SUPERUSER,
)
from tests.support.services.polling import eventually
from tests.support.services.ports import Ports
from tests.support.services.servers import Servers

OWNER = tenants.generate_tenant("ten_abcdefghij012345", "owner@example.com")


def passwords(servers: Servers) -> dict[str, str]:
    folder = servers.folder / "secrets"
    return {role: (folder / f"postgres_{role}").read_text() for role in (SUPERUSER, PLATFORM_ROLE)}


def settings(servers: Servers, **overrides: Any) -> Settings:
    chosen = {
        "database_url": servers.database_url(PLATFORM_DATABASE),
        "nats_url": servers.nats_url("node"),
    }
    return Settings(**{**chosen, **overrides})


async def administer(servers: Servers, statement: str) -> None:
    url = servers._postgres.make_url(SUPERUSER, MAINTENANCE_DATABASE)
    connection: Any = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest_asyncio.fixture
async def empty(servers: Servers) -> AsyncIterator[Servers]:
    """Provide servers without a platform database and without streams."""
    await administer(servers, f"DROP DATABASE IF EXISTS {PLATFORM_DATABASE} WITH (FORCE)")
    await servers.delete_streams()
    yield servers
    await servers.restart_nats()  # with its streams
    await administer(servers, f"DROP DATABASE IF EXISTS {PLATFORM_DATABASE} WITH (FORCE)")


async def signs_in(servers: Servers, owner: NewTenant) -> bool:
    async with Database(servers.database_url(PLATFORM_DATABASE)).open_pool() as database:
        known = Sessions(database=database, settings=Settings())
        caller = await Tokens(database=database).find_principal(owner.token)
        session = await known.sign_in(owner.email, owner.password)
        return caller is not None and caller.tenant_id == owner.tenant_id and bool(session.cookie)


async def test_setup_is_complete_and_repeatable(empty: Servers) -> None:
    given = SetupInput(owner=OWNER, passwords=passwords(empty))
    for _ in range(2):
        await set_up_deployment(settings(empty), given, timeout_s=30)
        await wait_for_schema(settings(empty), timeout_s=1)
        assert await signs_in(empty, OWNER)
        assert [
            await empty.count(stream)
            for stream in (COMMAND_STREAM, EVENT_STREAM, DEAD_LETTER_STREAM)
        ] == [0, 0, 0]


async def test_concurrent_setups_agree(empty: Servers) -> None:
    given = SetupInput(owner=OWNER, passwords=passwords(empty))
    await set_up_deployment(settings(empty), given, timeout_s=30)
    await asyncio.gather(
        *(
            set_up_deployment(settings(empty), SetupInput(owner=OWNER), timeout_s=30)
            for _ in range(3)
        )
    )
    assert await signs_in(empty, OWNER)


async def test_new_secrets_of_same_tenant_replace_old(empty: Servers) -> None:
    given = SetupInput(owner=OWNER, passwords=passwords(empty))
    await set_up_deployment(settings(empty), given, timeout_s=30)
    fresh = tenants.generate_tenant(OWNER.tenant_id, OWNER.email)
    await set_up_deployment(settings(empty), SetupInput(owner=fresh), timeout_s=30)
    assert await signs_in(empty, fresh)
    # the old token exists, so restoring the old Secret changes nothing
    await set_up_deployment(settings(empty), given, timeout_s=30)
    assert await signs_in(empty, fresh)


async def test_tenant_mismatch_is_reported(empty: Servers, logged: Callable[[], str]) -> None:
    await set_up_deployment(
        settings(empty), SetupInput(owner=OWNER, passwords=passwords(empty)), timeout_s=30
    )
    elsewhere = tenants.generate_tenant("ten_zzzzzzzzzzzzzzzz", OWNER.email)
    await set_up_deployment(settings(empty), SetupInput(owner=elsewhere), timeout_s=30)
    assert "first_tenant_mismatched" in logged()
    assert await signs_in(empty, elsewhere._replace(tenant_id=OWNER.tenant_id))


async def test_setup_waits_for_late_servers(empty: Servers, logged: Callable[[], str]) -> None:
    await empty.stop_nats()
    given = SetupInput(owner=OWNER, passwords=passwords(empty))
    work = asyncio.create_task(set_up_deployment(settings(empty), given, timeout_s=60))
    waiting = asyncio.create_task(wait_for_schema(settings(empty), timeout_s=60))
    await eventually(lambda: '"part": "streams"' in logged(), within=20)
    assert not work.done()
    await waiting  # the schema comes before the streams
    await empty.start_nats()
    await work
    assert await signs_in(empty, OWNER)


async def test_setup_times_out(empty: Servers) -> None:
    nowhere = settings(empty, database_url="postgresql://storefleet:x@127.0.0.1:1/storefleet")
    with pytest.raises(DependencyNotReady, match="schema"):
        await set_up_deployment(nowhere, SetupInput(owner=OWNER), timeout_s=0.1)
    with pytest.raises(DependencyNotReady, match="schema"):
        await wait_for_schema(nowhere, timeout_s=0.1)


async def test_older_schema_is_waited_for_and_newer_is_rejected(empty: Servers) -> None:
    await set_up_deployment(
        settings(empty), SetupInput(owner=OWNER, passwords=passwords(empty)), timeout_s=30
    )
    connection: Any = await asyncpg.connect(empty.database_url(PLATFORM_DATABASE))
    try:
        await connection.execute("UPDATE alembic_version SET version_num = '0000'")
        with pytest.raises(DependencyNotReady, match="older than this release"):
            await wait_for_schema(settings(empty), timeout_s=0.1)
        await connection.execute("UPDATE alembic_version SET version_num = '9999'")
        await wait_for_schema(settings(empty), timeout_s=0.1)
        await set_up_deployment(
            settings(empty), SetupInput(owner=OWNER), timeout_s=5
        )  # a reverted release
    finally:
        await connection.close()


async def test_wrong_password_fails_at_once(empty: Servers) -> None:
    wrong = {**passwords(empty), SUPERUSER: "wrong"}
    with pytest.raises(DeploymentError, match="rejects the password"):
        await set_up_deployment(
            settings(empty), SetupInput(owner=OWNER, passwords=wrong), timeout_s=60
        )


def test_three_nats_servers_form_cluster_with_users(tmp_path: Path) -> None:
    for user in (*PERMISSIONS, "route"):
        (tmp_path / f"nats_{user}").write_text(f"password-of-{user}\n")
    peers = tuple(f"nats-{number}.nats-peers:6222" for number in range(3))
    argv = prepare_nats(
        data_folder=tmp_path / "data",
        passwords_folder=tmp_path,
        scratch_folder=tmp_path,
        server_name="nats-1",
        peers=peers,
    )
    content = json.loads(Path(argv[-1]).read_text())
    assert content["server_name"] == "nats-1"
    assert content["jetstream"]["sync_interval"] == "always"
    assert {user["user"]: user["permissions"] for user in content["authorization"]["users"]} == {
        user: {right: {"allow": subjects} for right, subjects in rights.items()}
        for user, rights in PERMISSIONS.items()
    }
    assert len(content["cluster"]["routes"]) == 3
    assert Path(argv[-1]).stat().st_mode & 0o777 == 0o600


class ThreeNatsServers:
    """Three nats-servers on loopback, each with the configuration of one pod."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.supervisor = Supervisor(records_dir=create_folder(folder / "pids"))
        chosen = Ports()
        self.ports = [chosen.take() for _ in range(9)]
        chosen.close()
        for user in (*PERMISSIONS, "route"):
            (folder / f"nats_{user}").write_text(f"password-of-{user}")

    def start(self, number: int) -> None:
        client, route, health = self.ports[number * 3 : number * 3 + 3]
        scratch = create_folder(self.folder / f"scratch-{number}")
        peers = tuple(f"127.0.0.1:{port}" for port in self.ports[1::3])
        argv = prepare_nats(
            data_folder=self.folder / f"data-{number}",
            passwords_folder=self.folder,
            scratch_folder=scratch,
            server_name=f"nats-{number}",
            peers=peers,
        )
        file = Path(argv[-1])
        content = json.loads(file.read_text())
        content |= {"listen": f"127.0.0.1:{client}", "http": f"127.0.0.1:{health}"}
        content["cluster"]["listen"] = f"127.0.0.1:{route}"
        file.write_text(json.dumps(content))
        self.supervisor.start(
            ChildProcess(
                name=f"nats-{number}", argv=argv, cwd=scratch, log_file=scratch / "log", rank=0
            )
        )

    @property
    def url(self) -> str:
        return ",".join(
            f"nats://node:password-of-node@127.0.0.1:{port}" for port in self.ports[0::3]
        )


async def test_three_nats_servers_keep_streams_without_one(tmp_path: Path) -> None:
    trio = ThreeNatsServers(tmp_path)
    for number in range(3):
        trio.start(number)
    bus = MessageBus(trio.url, name="node", replicas=3)

    async def made() -> bool:
        with suppress(MessagingUnavailable):
            await bus.ensure_streams()
            return True
        return False

    try:
        async with bus.open_connection():
            await eventually(made, within=30, every=0.3)
            await trio.supervisor.stop("nats-1")
            await eventually(made, within=30, every=0.3)  # two of three are a majority
            trio.start(1)
            await eventually(made, within=30, every=0.3)
    finally:
        await trio.supervisor.stop_all()
