"""The embedded nats-server: its configuration, its process, and the permissions of its users.

Every service has a user of its own with only the permissions that its work needs. The
configuration also serves the platform's NATS containers (`deployment/servers.py`).
"""

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
from storefleet.node.private_files import (
    create_owned_folder,
    create_readable_folder,
    load_or_create_secret,
    write_json,
)
from storefleet.node.processes.launcher import ChildProcess, read_last_line
from storefleet.node.processes.supervisor import ChildStatus
from storefleet.node.servers.server_programs import find_nats_program
from storefleet.node.system_user import SystemAccount

_GIB = 1 << 30


class NatsServer:
    """An embedded server on a loopback port, with JetStream that syncs every write.

    Args:
        folder: The folder of the configuration and of JetStream's files.
        secrets_dir: The folder of the users' passwords; missing ones are created.
        log_file: The log of the server.
        port: The port on 127.0.0.1.
        account: The system account that the server runs as; None is the current user.
    """

    name = "nats"

    def __init__(
        self,
        *,
        folder: Path,
        secrets_dir: Path,
        log_file: Path,
        port: int,
        account: SystemAccount | None,
    ) -> None:
        self._folder = folder
        self._secrets_dir = secrets_dir
        self._log_file = log_file
        self._port = port
        self._account = account
        self._program = find_nats_program()

    def make_url(self, user: str) -> str:
        """Make the URL of the server for a user, with the password."""
        return f"nats://{user}:{quote(self._load_password(user))}@127.0.0.1:{self._port}"

    def write_configuration(self) -> None:
        """Create the server's folders and write its configuration file."""
        create_readable_folder(self._folder, self._account)
        create_owned_folder(self._folder / "jetstream", self._account)
        users = make_users({user: self._load_password(user) for user in PERMISSIONS})
        content = make_configuration(
            listen=f"127.0.0.1:{self._port}", store_dir=self._folder / "jetstream", users=users
        )
        write_json(self._folder / "nats.conf", content, readers=self._account)

    def make_child(self) -> ChildProcess:
        """Describe the server's process."""
        return ChildProcess(
            name=self.name,
            argv=(str(self._program), "-c", str(self._folder / "nats.conf")),
            cwd=self._folder,
            log_file=self._log_file,
            env={"GOMEMLIMIT": "128MiB", "GOMAXPROCS": "2", "GOGC": "400"},
            rank=0,
            account=self._account,
            readable_paths=(self._folder, self._program),
            stop_signals=((signal.SIGTERM, 8.0),),
        )

    async def wait_until_ready(self, get_status: Callable[[], ChildStatus | None]) -> None:
        """Wait until the server sends its `INFO` line to a new connection.

        Args:
            get_status: Returns the status of the server's process.

        Raises:
            NodeError: The server keeps ending.
        """
        while True:
            with contextlib.suppress(OSError, TimeoutError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    if (await asyncio.wait_for(reader.readline(), 2)).startswith(b"INFO "):
                        return
                finally:
                    writer.close()
            status = get_status()
            if status is None or status.restarts > 4:
                raise NodeError(
                    f"nats-server does not start: {read_last_line(self._log_file)}. "
                    f"Read its log {self._log_file}."
                )
            await asyncio.sleep(0.01)

    def _load_password(self, user: str) -> str:
        return load_or_create_secret(self._secrets_dir / f"nats_{user}")


def _make_worker_permissions(service: str) -> dict[str, list[str]]:
    """Make the permissions of a service that only takes commands from its own consumer."""
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


#: The permissions of each user; everything else is rejected. Replies arrive in an inbox that no
#: other user can read.
PERMISSIONS: dict[str, dict[str, list[str]]] = {
    "gateway": {
        "publish": [
            "$JS.API.INFO",
            f"{COMMAND_SUBJECT_PREFIX}.>",
            f"{EVENT_SUBJECT_PREFIX}.>",
            f"{DEAD_LETTER_SUBJECT_PREFIX}.>",
        ],
        "subscribe": [RELAY_WAKE_SUBJECT, "_INBOX_gateway.>"],
    },
    "provisioner": _make_worker_permissions("provisioner"),
    "reaper": _make_worker_permissions("reaper"),
    "notifier": {
        "publish": ["$JS.API.INFO"],
        "subscribe": [f"{LIVE_EVENT_SUBJECT_PREFIX}.>", "_INBOX_notifier.>"],
    },
    "node": {"publish": ["$JS.API.>"], "subscribe": ["_INBOX_node.>"]},
}


def make_users(passwords: dict[str, str]) -> list[dict[str, Any]]:
    """Make the `users` section of the configuration.

    Args:
        passwords: The passwords by user name; every name is in `PERMISSIONS`.

    Returns:
        The users with their passwords and permissions.
    """
    return [
        {
            "user": user,
            "password": password,
            "permissions": {
                right: {"allow": subjects} for right, subjects in PERMISSIONS[user].items()
            },
        }
        for user, password in passwords.items()
    ]


def make_configuration(
    *, listen: str, store_dir: Path, users: list[dict[str, Any]], **sections: Any
) -> dict[str, Any]:
    """Make the server's configuration; nats-server reads JSON, too.

    Args:
        listen: Address and port for clients.
        store_dir: The folder of JetStream's files.
        users: The users from `make_users`.
        sections: More sections, such as `cluster` and `http`. Without them the server is alone and
            has no monitoring port.

    Returns:
        The configuration.
    """
    return {
        "server_name": "storefleet",
        "listen": listen,
        "max_payload": 1 << 20,
        "max_connections": 256,
        "write_deadline": "10s",
        "jetstream": {
            "store_dir": str(store_dir),
            "sync_interval": "always",
            "max_memory_store": 16 << 20,
            "max_file_store": 4 * _GIB,
        },
        "authorization": {"users": users, "timeout": 2},
        **sections,
    }
