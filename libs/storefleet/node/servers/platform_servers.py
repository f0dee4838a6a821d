"""The PostgreSQL and NATS servers of the local node: embedded, unless the settings name others."""

import contextlib

from storefleet.core.settings import Settings
from storefleet.node import service_processes
from storefleet.node.ports import choose_port
from storefleet.node.private_files import create_folder
from storefleet.node.processes.supervisor import Supervisor
from storefleet.node.servers.nats_server import NatsServer
from storefleet.node.servers.postgres import PostgresServer
from storefleet.node.servers.roles import (
    MAINTENANCE_DATABASE,
    PLATFORM_DATABASE,
    PLATFORM_ROLE,
    STORES_ROLE,
)
from storefleet.node.servers.stream_keeper import StreamKeeper
from storefleet.node.state import StateFolder
from storefleet.node.system_user import SystemAccount

_NODE_USER = "node"


class PlatformServers:
    """Chooses and starts the servers of one run, and makes their URLs.

    The constructor chooses the servers: an embedded one keeps its port from run to run.

    Args:
        settings: The platform's settings.
        state: The state folder.
        account: The system account that embedded servers run as; None is the current user.
        supervisor: Runs the embedded servers.

    Raises:
        NodeError: No port is free, or the programs of an embedded server are not installed.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        state: StateFolder,
        account: SystemAccount | None,
        supervisor: Supervisor,
    ) -> None:
        self._settings = settings
        self._supervisor = supervisor
        self._postgres: PostgresServer | None = None
        self._nats: NatsServer | None = None
        self._stream_keeper: StreamKeeper | None = None
        previous_ports = state.read_node_file().get("ports", {})
        secrets_dir = create_folder(state.secrets_dir(_NODE_USER))
        ports = {}
        if not settings.database_url.get_secret_value():
            ports["postgres"] = choose_port(previous_ports.get("postgres"))
            self._postgres = PostgresServer(
                folder=state.path / "postgres",
                secrets_dir=secrets_dir,
                records_dir=state.records_dir,
                log_file=state.log_file("postgres"),
                port=ports["postgres"],
                account=account,
            )
        if not settings.nats_url.get_secret_value():
            ports["nats"] = choose_port(previous_ports.get("nats"))
            self._nats = NatsServer(
                folder=state.path / "nats",
                secrets_dir=secrets_dir,
                log_file=state.log_file("nats"),
                port=ports["nats"],
                account=account,
            )
        state.write_node_file(
            ports={**previous_ports, **ports}, services=service_processes.list_ports(settings)
        )

    def make_urls(self) -> dict[str, dict[str, str]]:
        """Make the URLs, with passwords, of the services and of the node itself (`node`).

        Returns:
            For each user, `database_url`, `nats_url` and, if needed, `stores_database_url`.
        """
        settings = self._settings
        if self._postgres is not None:
            platform_url = self._postgres.make_url(PLATFORM_ROLE, PLATFORM_DATABASE)
            stores_url = self._postgres.make_url(STORES_ROLE, MAINTENANCE_DATABASE)
        else:
            platform_url = settings.database_url.get_secret_value()
            stores_url = settings.stores_database_url.get_secret_value() or platform_url
        users: dict[str, dict[str, str]] = {}
        for user in (*service_processes.SERVICES, _NODE_USER):
            users[user] = {"database_url": platform_url, "nats_url": self._make_nats_url(user)}
            if user in ("provisioner", "reaper", _NODE_USER):
                users[user]["stores_database_url"] = stores_url
        return users

    async def start_postgres(self) -> None:
        """Start the embedded PostgreSQL, if there is one, and set up its roles.

        Raises:
            NodeError: The server does not start, or its roles cannot be set up.
        """
        if self._postgres is None:
            return
        await self._postgres.prepare_cluster()
        self._supervisor.start(self._postgres.make_child())
        await self._postgres.wait_until_ready(lambda: self._supervisor.get_status("postgres"))
        await self._postgres.ensure_roles()

    async def start_nats(self, stack: contextlib.AsyncExitStack) -> StreamKeeper:
        """Start an embedded NATS, if there is one, and create the streams.

        Args:
            stack: Receives the stream keeper's connection.

        Returns:
            The stream keeper; the caller runs it.

        Raises:
            NodeError: The server does not start, or the streams cannot be created.
        """
        if self._nats is not None:
            self._nats.write_configuration()
            self._supervisor.start(self._nats.make_child())
            await self._nats.wait_until_ready(lambda: self._supervisor.get_status("nats"))
        self._stream_keeper = StreamKeeper(
            self._make_nats_url(_NODE_USER), replicas=self._settings.stream_replicas
        )
        await stack.enter_async_context(self._stream_keeper.open_connection())
        await self._stream_keeper.create_streams()
        return self._stream_keeper

    def handle_status_change(self, name: str) -> None:
        """Check the streams after a restart of the embedded NATS.

        Args:
            name: The child whose status has changed.
        """
        status = self._supervisor.get_status(name)
        if name != "nats" or self._stream_keeper is None or status is None:
            return
        if status.state == "running":
            self._stream_keeper.request_check()

    def _make_nats_url(self, user: str) -> str:
        if self._nats is not None:
            return self._nats.make_url(user)
        return self._settings.nats_url.get_secret_value()
