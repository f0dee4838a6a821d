"""`storefleet platform postgres, nats, streams`: the servers that a deployment runs itself."""

import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from storefleet.cli.command import CommandContext, command
from storefleet.cli.deployment_command import configure_logging, run_until_signal, translate_errors

PasswordsOption = Annotated[
    Path,
    typer.Option("--passwords", metavar="FOLDER", help="Mount of the server's secret."),
]
DataOption = Annotated[
    Path, typer.Option("--data", metavar="FOLDER", help="Data folder of the server.")
]
ScratchOption = Annotated[
    Path, typer.Option("--scratch", metavar="FOLDER", help="Folder for temporary files.")
]
ListenOption = Annotated[
    str, typer.Option("--listen", metavar="ADDRESS", help="Address to listen on.")
]
PortOption = Annotated[int, typer.Option(min=1, max=65535, help="Port of the server.")]
HealthPortOption = Annotated[
    int, typer.Option(min=1, max=65535, help="Port of the health checks and statistics.")
]


def register_commands(app: typer.Typer) -> None:
    """Add the commands to the group `platform`."""
    command(app, "postgres", uses_api=False)(run_postgres)
    command(app, "nats", uses_api=False)(run_nats)
    command(app, "streams", uses_api=False)(keep_streams)


def run_postgres(
    cli: CommandContext,
    data: DataOption,
    passwords: PasswordsOption,
    scratch: ScratchOption = Path("/tmp"),  # noqa: S108 - private to the container
    listen: ListenOption = "0.0.0.0",
    port: PortOption = 5432,
) -> None:
    """Prepare the deployment's own PostgreSQL, then replace this process with it."""
    del cli
    from storefleet.deployment.servers import prepare_postgres, replace_process

    os.umask(0o077)
    preparation = prepare_postgres(
        data_folder=data,
        passwords_folder=passwords,
        scratch_folder=scratch,
        listen_address=listen,
        port=port,
    )
    replace_process(run_until_signal(preparation))


def run_nats(
    cli: CommandContext,
    data: DataOption,
    passwords: PasswordsOption,
    scratch: ScratchOption = Path("/tmp"),  # noqa: S108 - private to the container
    peers: Annotated[
        str,
        typer.Option("--peers", metavar="HOST:PORT,…", help="All servers, if there are several."),
    ] = "",
    listen: ListenOption = "0.0.0.0",
    port: PortOption = 4222,
    health_port: HealthPortOption = 8222,
) -> None:
    """Configure the deployment's own nats-server, then replace this process with it."""
    del cli
    from storefleet.deployment.servers import prepare_nats, replace_process

    os.umask(0o077)
    argv = translate_errors(
        lambda: prepare_nats(
            data_folder=data,
            passwords_folder=passwords,
            scratch_folder=scratch,
            server_name=socket.gethostname(),
            peers=tuple(peer for peer in peers.split(",") if peer),
            listen_address=listen,
            port=port,
            health_port=health_port,
        )
    )
    replace_process(argv, GOMEMLIMIT=os.environ.get("GOMEMLIMIT", "128MiB"))


def keep_streams(cli: CommandContext) -> None:
    """Keep the streams in NATS until SIGTERM; recreate them if the server lost them."""
    del cli
    settings = configure_logging("streams")
    from storefleet.node.servers.stream_keeper import StreamKeeper

    async def run_keeper() -> None:
        keeper = StreamKeeper(
            settings.nats_url.get_secret_value(), replicas=settings.stream_replicas
        )
        async with keeper.open_connection():
            keeper.request_check()
            await keeper.run()

    run_until_signal(run_keeper())
