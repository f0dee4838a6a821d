"""The embedded nats-server: every user has exactly the permissions that its service needs."""

import asyncio
import json
import os
import re
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
import pytest_asyncio

from storefleet.core.errors import MessagingUnavailable
from storefleet.core.messages import COMMAND_STREAM, EVENT_STREAM
from storefleet.messaging import MessageBus, OutgoingMessage
from storefleet.node.ports import choose_port
from storefleet.node.private_files import create_folder
from storefleet.node.processes.supervisor import Supervisor
from storefleet.node.servers.nats_server import PERMISSIONS, NatsServer
from storefleet.node.system_user import ensure_account
from tests.support.services.polling import eventually

COMMAND = "storefleet.commands.v1.provisioner.create.sto_1"
EVENT = "storefleet.events.v1.ten_1.sto_1.ready"
LIVE = "storefleet.live.v1.ten_1.sto_1.ready"
USERS = tuple(PERMISSIONS)


class Server:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.supervisor = Supervisor(records_dir=create_folder(folder / "pids"))
        self.nats = NatsServer(
            folder=folder / "nats",
            secrets_dir=create_folder(folder / "secrets"),
            log_file=folder / "nats.log",
            port=choose_port(None),
            account=ensure_account(),
        )

    async def start(self) -> None:
        self.nats.write_configuration()
        self.supervisor.start(self.nats.make_child())
        await self.nats.wait_until_ready(lambda: self.supervisor.get_status("nats"))

    @asynccontextmanager
    async def client(self, user: str) -> AsyncIterator[tuple[Any, list[str]]]:
        """Connect as a user; yield the client and the list of rejections by the server."""
        refused: list[str] = []

        async def note(error: Exception) -> None:
            refused.append(str(error))

        client = await nats.connect(
            self.nats.make_url(user), inbox_prefix=f"_INBOX_{user}".encode(), error_cb=note
        )
        try:
            yield client, refused
        finally:
            await client.close()

    async def refusals(self, user: str) -> set[str]:
        """Try all subjects as a user, and return the rejected ones."""
        async with self.client(user) as (client, refused):
            for subject in PUBLISH:
                await client.publish(subject, b"0")
            for subject in SUBSCRIBE:
                await client.subscribe(subject)
            await client.flush()
            await asyncio.sleep(0.3)  # rejections arrive asynchronously
            found = (
                re.search('(publish|subscription) to "(.+?)"', text, re.IGNORECASE)
                for text in refused
            )
            return {f"{match[1].lower()} {match[2]}" for match in found if match}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server() -> AsyncIterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="storefleet-tests-"))
    server = Server(folder)
    try:
        await server.start()
        async with MessageBus(server.nats.make_url("node"), name="node").open_connection() as bus:
            await eventually(lambda: bus.is_connected)
            await bus.ensure_streams()
        yield server
    finally:
        await server.supervisor.stop_all()
        shutil.rmtree(folder)


PUBLISH = {
    COMMAND: {"gateway"},
    EVENT: {"gateway"},
    "storefleet.dead.v1.unreadable": {"gateway"},
    LIVE: set(),
    "anything.else": set(),
    "$JS.API.INFO": set(USERS),
    f"$JS.API.STREAM.CREATE.{EVENT_STREAM}2": {"node"},
    f"$JS.API.STREAM.MSG.GET.{EVENT_STREAM}": {"node"},
    f"$JS.API.CONSUMER.CREATE.{COMMAND_STREAM}": {"node"},
    f"$JS.API.CONSUMER.MSG.NEXT.{COMMAND_STREAM}.provisioner": {"node", "provisioner"},
    f"$JS.API.CONSUMER.MSG.NEXT.{COMMAND_STREAM}.reaper": {"node", "reaper"},
    f"$JS.ACK.{COMMAND_STREAM}.provisioner.1.1.1.1.0": {"provisioner"},
    f"$JS.ACK.{COMMAND_STREAM}.reaper.1.1.1.1.0": {"reaper"},
    "_INBOX_gateway.forged": set(),
}
SUBSCRIBE = {
    COMMAND: set(),
    EVENT: set(),
    LIVE: {"notifier"},
    "storefleet.live.v1.>": {"notifier"},
    ">": set(),
    "$JS.EVENT.ADVISORY.>": set(),
    **{f"_INBOX_{user}.>": {user} for user in USERS},
    "_INBOX.>": set(),
}


@pytest.mark.parametrize("user", USERS)
async def test_user_has_exactly_its_permissions(server: Server, user: str) -> None:
    expected = {f"publish {subject}" for subject, allowed in PUBLISH.items() if user not in allowed}
    expected |= {
        f"subscription {subject}" for subject, allowed in SUBSCRIBE.items() if user not in allowed
    }
    assert await server.refusals(user) == {
        refusal.lower() for refusal in expected
    }  # the client reports them in lower case


@pytest.mark.parametrize(
    "credentials", [{}, {"user": "gateway", "pass": "wrong"}, {"user": "stranger", "pass": ""}]
)
async def test_unknown_credentials_are_rejected(
    server: Server, credentials: dict[str, str]
) -> None:
    port = int(server.nats.make_url("node").rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert (await reader.readline()).startswith(b"INFO ")
    writer.write(f"CONNECT {json.dumps({'verbose': False, **credentials})}\r\nPING\r\n".encode())
    assert b"Authorization Violation" in await reader.read()
    writer.close()
    await writer.wait_closed()


async def test_acknowledged_messages_survive_kill(server: Server) -> None:
    assert '"sync_interval": "always"' in (server.folder / "nats" / "nats.conf").read_text()
    status = server.supervisor.get_status("nats")
    assert status is not None
    assert status.pid is not None
    async with (
        MessageBus(server.nats.make_url("gateway"), name="gateway").open_connection() as gateway,
        MessageBus(
            server.nats.make_url("provisioner"), name="provisioner"
        ).open_connection() as provisioner,
    ):
        await eventually(lambda: gateway.is_connected and provisioner.is_connected)
        for number in range(1, 21):
            await gateway.publish(OutgoingMessage(COMMAND, str(number).encode(), f"m{number}"))
        os.kill(status.pid, signal.SIGKILL)
        await eventually(lambda: status.restarts == 1)
        await server.nats.wait_until_ready(lambda: server.supervisor.get_status("nats"))
        pull = await provisioner.open_consumer(COMMAND_STREAM, "provisioner", capacity=50)
        got = set()
        async with asyncio.timeout(20):
            while not got >= set(range(1, 21)):
                message = await pull.next_message()
                got.add(int(message.body))
                await message.acknowledge()
                await pull.release_slot()
        await pull.stop()
    assert got - {0} == set(range(1, 21))


async def test_publish_without_permission_fails(server: Server) -> None:
    async with MessageBus(
        server.nats.make_url("notifier"), name="notifier"
    ).open_connection() as notifier:
        await eventually(lambda: notifier.is_connected)
        with pytest.raises(MessagingUnavailable):
            await notifier.publish(OutgoingMessage(COMMAND, b"{}", "forged"))


def test_server_files_are_private(server: Server) -> None:
    for path in (*(server.folder / "nats").iterdir(), *(server.folder / "secrets").iterdir()):
        assert path.stat().st_mode & 0o007 == 0, path
