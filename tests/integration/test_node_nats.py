"""The embedded nats-server: each user may do what its service does, and nothing else."""

import asyncio
import os
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
from nats.errors import Error as NatsError

from storefleet.bus import Bus
from storefleet.errors import BusAway
from storefleet.messages import COMMANDS, EVENTS
from storefleet.node.accounts import find_account
from storefleet.node.files import make_folder
from storefleet.node.nats_server import RIGHTS, NatsServer
from storefleet.node.ports import keep_or_choose
from storefleet.node.supervisor import Supervisor
from tests.support.polling import eventually

COMMAND = "storefleet.commands.v1.provisioner.create.sto_1"
EVENT = "storefleet.events.v1.ten_1.sto_1.ready"
LIVE = "storefleet.live.v1.ten_1.sto_1.ready"
USERS = tuple(RIGHTS)


class Server:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.supervisor = Supervisor(records=make_folder(folder / "pids"))
        self.nats = NatsServer(
            folder=folder / "nats",
            secrets=make_folder(folder / "secrets"),
            log=folder / "nats.log",
            port=keep_or_choose(None),
            account=find_account(),
        )

    async def start(self) -> None:
        self.nats.prepare()
        self.supervisor.start(self.nats.child())
        await self.nats.ready(lambda: self.supervisor.status("nats"))

    @asynccontextmanager
    async def client(self, user: str) -> AsyncIterator[tuple[Any, list[str]]]:
        """A connection, and what the server refused on it."""
        refused: list[str] = []

        async def note(error: Exception) -> None:
            refused.append(str(error))

        client = await nats.connect(self.nats.url(user), inbox_prefix=f"_INBOX_{user}".encode(), error_cb=note)
        try:
            yield client, refused
        finally:
            await client.close()

    async def may_publish(self, user: str, subject: str) -> bool:
        async with self.client(user) as (client, refused):
            await client.publish(subject, b"{}")
            await client.flush()
            return not refused

    async def may_subscribe(self, user: str, subject: str) -> bool:
        async with self.client(user) as (client, refused):
            await client.subscribe(subject)
            await client.flush()
            return not refused


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server() -> AsyncIterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="storefleet-tests-"))
    server = Server(folder)
    try:
        await server.start()
        async with Bus(server.nats.url("node"), name="node").opened() as bus:
            await eventually(lambda: bus.connected)
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
    f"$JS.API.STREAM.CREATE.{EVENTS}2": {"node"},
    f"$JS.API.STREAM.MSG.GET.{EVENTS}": {"node"},
    f"$JS.API.CONSUMER.CREATE.{COMMANDS}": {"node"},
    f"$JS.API.CONSUMER.MSG.NEXT.{COMMANDS}.provisioner": {"node", "provisioner"},
    f"$JS.API.CONSUMER.MSG.NEXT.{COMMANDS}.reaper": {"node", "reaper"},
    f"$JS.ACK.{COMMANDS}.provisioner.1.1.1.1.0": {"provisioner"},
    f"$JS.ACK.{COMMANDS}.reaper.1.1.1.1.0": {"reaper"},
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
async def test_what_each_user_may_do(server: Server, user: str) -> None:
    for subject, allowed in PUBLISH.items():
        if "CREATE" in subject and user == "node":
            continue  # it would
        assert await server.may_publish(user, subject) == (user in allowed), f"{user} publishes {subject}"
    for subject, allowed in SUBSCRIBE.items():
        assert await server.may_subscribe(user, subject) == (user in allowed), f"{user} subscribes {subject}"


@pytest.mark.parametrize("credentials", [{}, {"user": "gateway", "password": "wrong"}, {"user": "stranger"}])
async def test_strangers_are_refused(server: Server, credentials: dict[str, str]) -> None:
    address = f"nats://127.0.0.1:{server.nats.url('node').rpartition(':')[2]}"
    with pytest.raises((NatsError, OSError)):
        await nats.connect(
            address,
            **credentials,
            allow_reconnect=False,
            connect_timeout=2,
            error_cb=_silent,  # type: ignore[arg-type]
        )


async def _silent(_error: Exception) -> None:
    """What is refused here is expected."""


async def test_every_write_is_synced_and_survives_kill_9(server: Server) -> None:
    assert '"sync_interval": "always"' in (server.folder / "nats" / "nats.conf").read_text()
    status = server.supervisor.status("nats")
    assert status is not None
    assert status.pid is not None
    async with (
        Bus(server.nats.url("gateway"), name="gateway").opened() as gateway,
        Bus(server.nats.url("provisioner"), name="provisioner").opened() as provisioner,
    ):
        await eventually(lambda: gateway.connected and provisioner.connected)
        for number in range(20):
            await gateway.publish(COMMAND, str(number).encode(), message_id=f"m{number}")
        os.kill(status.pid, signal.SIGKILL)
        await eventually(lambda: status.restarts == 1)
        await server.nats.ready(lambda: server.supervisor.status("nats"))
        pull = await provisioner.pull(COMMANDS, "provisioner", capacity=50)
        got = set()
        async with asyncio.timeout(20):
            while len(got) < 20:
                message = await pull.next()
                got.add(int(message.body))
                await message.done()
                await pull.release()
        await pull.stop()
    assert got == set(range(20))


async def test_a_service_that_may_not_is_told_so(server: Server) -> None:
    async with Bus(server.nats.url("notifier"), name="notifier").opened() as notifier:
        await eventually(lambda: notifier.connected)
        with pytest.raises(BusAway):
            await notifier.publish(COMMAND, b"{}", message_id="forged")


def test_its_files_are_private(server: Server) -> None:
    for path in (*(server.folder / "nats").iterdir(), *(server.folder / "secrets").iterdir()):
        assert path.stat().st_mode & 0o007 == 0, path
