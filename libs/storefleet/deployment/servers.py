"""Prepare PostgreSQL and NATS as the only program of a container.

The calling process then replaces itself with the server, so that the server receives the
container's signals.
"""

import os
from pathlib import Path
from typing import Any, NoReturn

from storefleet.deployment.deployment_error import DeploymentError
from storefleet.deployment.secrets import ROUTE_USER
from storefleet.node.private_files import create_folder, write_json
from storefleet.node.processes.launcher import MINIMAL_ENVIRONMENT
from storefleet.node.servers.nats_server import PERMISSIONS, make_configuration, make_users
from storefleet.node.servers.postgres import PostgresServer
from storefleet.node.servers.server_programs import find_nats_program

POSTGRES_PORT = 5432
NATS_PORT = 4222
HEALTH_PORT = 8222
ROUTE_PORT = 6222
ALL_INTERFACES = "0.0.0.0"  # network policies and passwords restrict access


async def prepare_postgres(
    *,
    data_folder: Path,
    passwords_folder: Path,
    scratch_folder: Path,
    listen_address: str = ALL_INTERFACES,
    port: int = POSTGRES_PORT,
) -> tuple[str, ...]:
    """Initialize the database cluster if it does not exist.

    Args:
        data_folder: The cluster's folder.
        passwords_folder: The mount of the secret with the roles' passwords.
        scratch_folder: A folder for temporary files.
        listen_address: The address to listen on.
        port: The port to listen on.

    Returns:
        The server's command line.

    Raises:
        NodeError: The cluster cannot be initialized.
    """
    server = PostgresServer(
        folder=data_folder,
        secrets_dir=passwords_folder,
        records_dir=create_folder(scratch_folder / "pids"),
        log_file=scratch_folder / "postgres.log",
        port=port,
        account=None,
        listen=listen_address,
    )
    await server.prepare_cluster()
    return server.make_child().argv


def prepare_nats(
    *,
    data_folder: Path,
    passwords_folder: Path,
    scratch_folder: Path,
    server_name: str,
    peers: tuple[str, ...] = (),
    listen_address: str = ALL_INTERFACES,
    port: int = NATS_PORT,
    health_port: int = HEALTH_PORT,
) -> tuple[str, ...]:
    """Write the configuration of nats-server, which contains passwords, to the scratch folder.

    Args:
        data_folder: The folder of JetStream.
        passwords_folder: The mount of the secret with the users' passwords.
        scratch_folder: The folder for the configuration file.
        server_name: The server's name, unique in its cluster.
        peers: All servers of the cluster as `host:port`; empty for a single server.
        listen_address: The address to listen on.
        port: The port for clients.
        health_port: The port for health checks and statistics.

    Returns:
        The server's command line.

    Raises:
        DeploymentError: A password is missing.
    """
    users = make_users(
        {user: read_secret(passwords_folder / f"nats_{user}") for user in PERMISSIONS}
    )
    cluster = {}
    if peers:
        password = read_secret(passwords_folder / f"nats_{ROUTE_USER}")
        cluster = make_cluster_section(peers, password)
    content = make_configuration(
        listen=f"{listen_address}:{port}",
        store_dir=data_folder,
        users=users,
        server_name=server_name,
        http=f"{listen_address}:{health_port}",
        lame_duck_duration="30s",
        lame_duck_grace_period="5s",
        **cluster,
    )
    file = scratch_folder / "nats.conf"
    write_json(file, content)
    return (str(find_nats_program()), "-c", str(file))


def make_cluster_section(peers: tuple[str, ...], password: str) -> dict[str, Any]:
    """Make the configuration of a NATS cluster.

    Peers are not advertised to clients, which reach all servers by one name.

    Args:
        peers: All servers as `host:port`.
        password: The password of the route user.

    Returns:
        The section `cluster` of the server's configuration.
    """
    return {
        "cluster": {
            "name": "storefleet",
            "listen": f"{ALL_INTERFACES}:{ROUTE_PORT}",
            "authorization": {"user": ROUTE_USER, "password": password, "timeout": 2},
            "routes": [f"nats://{ROUTE_USER}:{password}@{peer}" for peer in peers],
            "no_advertise": True,
        }
    }


def replace_process(argv: tuple[str, ...], **environment: str) -> NoReturn:
    """Replace this process with a program; it then receives the container's signals.

    Args:
        argv: The command line, beginning with the program's path.
        environment: Variables besides the plain environment.
    """
    variables = {**MINIMAL_ENVIRONMENT, **environment}
    os.execve(argv[0], list(argv), variables)  # noqa: S606  a shell would receive the signals


def read_secret(path: Path) -> str:
    """Read one key of a mounted secret.

    Args:
        path: The file of the key.

    Returns:
        The value, without surrounding white space.

    Raises:
        DeploymentError: The file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise DeploymentError(
            f"The secret {path.name} cannot be read in {path.parent} ({error.strerror}). "
            "Check that the Secret is mounted there and that the Job that creates it has completed."
        ) from None
