"""The embedded nats-server: a user for every service, each with no more rights than its work needs."""

import asyncio
import contextlib
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from storefleet.core.messages import (
    COMMAND_STREAM,
    COMMAND_SUBJECT_PREFIX,
    DEAD_LETTER_SUBJECT_PREFIX,
    EVENT_SUBJECT_PREFIX,
    LIVE_EVENT_SUBJECT_PREFIX,
    RELAY_WAKE_SUBJECT,
)
from storefleet.node.node_error import NodeError
from storefleet.node.private_files import give_folder, kept_secret, share_folder, write_json
from storefleet.node.processes.launcher import Child, last_line
from storefleet.node.processes.supervisor import Status
from storefleet.node.servers.server_programs import nats_program
from storefleet.node.system_user import Account

GIB = 1 << 30


class NatsServer:
    """One server in `folder`, on a loopback port, with JetStream that syncs every write."""

    name = "nats"

    def __init__(
        self, *, folder: Path, secrets: Path, log: Path, port: int, account: Account | None
    ) -> None:
        self._folder = folder
        self._secrets = secrets
        self._log = log
        self._port = port
        self._account = account
        self._program = nats_program()

    def url(self, user: str) -> str:
        return f"nats://{user}:{quote(self._password(user))}@127.0.0.1:{self._port}"

    def prepare(self) -> None:
        share_folder(self._folder, self._account)
        give_folder(self._folder / "jetstream", self._account)
        users = make_users({user: self._password(user) for user in RIGHTS})
        content = make_configuration(
            listen=f"127.0.0.1:{self._port}", store=self._folder / "jetstream", users=users
        )
        write_json(self._folder / "nats.conf", content, readers=self._account)

    def child(self) -> Child:
        return Child(
            name=self.name,
            argv=(str(self._program), "-c", str(self._folder / "nats.conf")),
            cwd=self._folder,
            log=self._log,
            env={"GOMEMLIMIT": "128MiB", "GOMAXPROCS": "2", "GOGC": "400"},
            rank=0,
            account=self._account,
            reach=(self._folder, self._program),
            endings=((signal.SIGTERM, 8.0),),
        )

    async def ready(self, status: Callable[[], Status | None]) -> None:
        """Wait until it greets; raises NodeError with its own last words when it does not come up."""
        while True:
            with contextlib.suppress(OSError, TimeoutError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    if (await asyncio.wait_for(reader.readline(), 2)).startswith(b"INFO "):
                        return
                finally:
                    writer.close()
            seen = status()
            if seen is None or seen.restarts > 4:
                raise NodeError(
                    f"nats-server does not start: {last_line(self._log)} (more in {self._log})."
                )
            await asyncio.sleep(0.01)

    def _password(self, user: str) -> str:
        return kept_secret(self._secrets / f"nats_{user}")


def _worker(service: str) -> dict[str, list[str]]:
    """A service that takes commands from its own consumer, and does nothing else."""
    return {
        "publish": [
            "$JS.API.INFO",
            f"$JS.API.CONSUMER.INFO.{COMMAND_STREAM}.{service}",
            f"$JS.API.CONSUMER.MSG.NEXT.{COMMAND_STREAM}.{service}",
            f"$JS.ACK.{COMMAND_STREAM}.{service}.>",
            RELAY_WAKE_SUBJECT,
        ],
        "subscribe": [f"_INBOX_{service}.>"],
    }


#: What each user may do; whatever is not listed is refused. Answers come to an inbox that no other user can read.
RIGHTS: dict[str, dict[str, list[str]]] = {
    "gateway": {
        "publish": [
            "$JS.API.INFO",
            f"{COMMAND_SUBJECT_PREFIX}.>",
            f"{EVENT_SUBJECT_PREFIX}.>",
            f"{DEAD_LETTER_SUBJECT_PREFIX}.>",
        ],
        "subscribe": [RELAY_WAKE_SUBJECT, "_INBOX_gateway.>"],
    },
    "provisioner": _worker("provisioner"),
    "reaper": _worker("reaper"),
    "notifier": {
        "publish": ["$JS.API.INFO"],
        "subscribe": [f"{LIVE_EVENT_SUBJECT_PREFIX}.>", "_INBOX_notifier.>"],
    },
    "node": {"publish": ["$JS.API.>"], "subscribe": ["_INBOX_node.>"]},
}


def make_users(passwords: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "user": user,
            "password": password,
            "permissions": {right: {"allow": subjects} for right, subjects in RIGHTS[user].items()},
        }
        for user, password in passwords.items()
    ]


def make_configuration(
    *, listen: str, store: Path, users: list[dict[str, Any]], **more: Any
) -> dict[str, Any]:
    """The server's configuration, which may be written as JSON; alone, and without a monitoring port, unless `more`."""
    return {
        "server_name": "storefleet",
        "listen": listen,
        "max_payload": 1 << 20,
        "max_connections": 256,
        "write_deadline": "10s",
        "jetstream": {
            "store_dir": str(store),
            "sync_interval": "always",
            "max_memory_store": 16 << 20,
            "max_file_store": 4 * GIB,
        },
        "authorization": {"users": users, "timeout": 2},
        **more,
    }
