"""PostgreSQL and NATS as the only program of a container: prepared here, then this very process becomes the server."""

import os
from pathlib import Path
from typing import Any, NoReturn

from storefleet.deployment.deployment_error import DeploymentError
from storefleet.deployment.secrets import ROUTE_USER
from storefleet.node.private_files import make_folder, write_json
from storefleet.node.processes.launcher import PLAIN_ENVIRONMENT
from storefleet.node.servers.nats_server import RIGHTS, make_configuration, make_users
from storefleet.node.servers.postgres import Postgres
from storefleet.node.servers.server_programs import nats_program

POSTGRES_PORT = 5432
NATS_PORT = 4222
HEALTH_PORT = 8222
ROUTE_PORT = 6222
ALL_INTERFACES = "0.0.0.0"  # who may come is for the network's policies and the passwords to say


async def prepare_postgres(
    *,
    data_folder: Path,
    passwords_folder: Path,
    scratch_folder: Path,
    listen_address: str = ALL_INTERFACES,
    port: int = POSTGRES_PORT,
) -> tuple[str, ...]:
    """Make the cluster in `data` when there is none; returns the server's command line."""
    server = Postgres(
        folder=data_folder,
        secrets=passwords_folder,
        records=make_folder(scratch_folder / "pids"),
        log=scratch_folder / "postgres.log",
        port=port,
        account=None,
        listen=listen_address,
    )
    await server.prepare()
    return server.child().argv


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
    """Write the configuration, with passwords, to `scratch`; returns the server's command line."""
    users = make_users({user: read_secret(passwords_folder / f"nats_{user}") for user in RIGHTS})
    content = make_configuration(
        listen=f"{listen_address}:{port}",
        store=data_folder,
        users=users,
        server_name=server_name,
        http=f"{listen_address}:{health_port}",
        lame_duck_duration="30s",
        lame_duck_grace_period="5s",
        **(
            make_cluster_section(peers, read_secret(passwords_folder / f"nats_{ROUTE_USER}"))
            if peers
            else {}
        ),
    )
    file = scratch_folder / "nats.conf"
    write_json(file, content)
    return (str(nats_program()), "-c", str(file))


def make_cluster_section(peers: tuple[str, ...], password: str) -> dict[str, Any]:
    """Several servers as one: each knows all, and clients are not told of them, since they have one name for all."""
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
    """Go on as this program, which then hears the container's signals itself."""
    os.execve(argv[0], list(argv), {**PLAIN_ENVIRONMENT, **environment})  # noqa: S606  a shell would hear the signals


def read_secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise DeploymentError(
            f"The secret {path.name} is not in {path.parent} ({error.strerror}): is the Secret mounted there, and has "
            "the job that makes the secrets run?"
        ) from None
