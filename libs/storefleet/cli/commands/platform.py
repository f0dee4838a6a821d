"""`storefleet platform …`: what the pods of a deployment run besides the services; people seldom call it."""

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from storefleet.cli.cli_errors import CliError, Interrupted, TimedOut
from storefleet.cli.command import CommandContext, command
from storefleet.cli.commands.local import load_settings
from storefleet.cli.output import messages

if TYPE_CHECKING:
    from storefleet.auth.accounts import NewTenant
    from storefleet.core.settings import Settings

app = typer.Typer(
    name="platform", help="What a deployment runs besides the services.", no_args_is_help=True
)

Folder = Annotated[Path, typer.Option(metavar="FOLDER")]
OwnPasswordsOption = Annotated[
    Path | None,
    typer.Option(
        "--passwords",
        metavar="FOLDER",
        help="Where storefleet-postgres is mounted, if it is our own.",
    ),
]
WaitTimeoutOption = Annotated[
    float, typer.Option("--timeout", min=1, max=86_400, help="Longest wait, seconds.")
]
PasswordsOption = Annotated[
    Path,
    typer.Option("--passwords", metavar="FOLDER", help="Where the server's secret is mounted."),
]
DataOption = Annotated[
    Path, typer.Option("--data", metavar="FOLDER", help="Where the server keeps everything.")
]
ScratchOption = Annotated[
    Path, typer.Option("--scratch", metavar="FOLDER", help="For files that need not be kept.")
]
ListenOption = Annotated[
    str, typer.Option("--listen", metavar="ADDRESS", help="Where the server listens.")
]
BackupsOption = Annotated[
    Path, typer.Option("--folder", metavar="FOLDER", help="Where the dumps are.")
]
OwnerOption = Annotated[
    Path, typer.Option("--owner", metavar="FOLDER", help="Where storefleet-admin is mounted.")
]
_Result = TypeVar("_Result")


@command(app, "secrets", uses_api=False)
def ensure_secrets(
    cli: CommandContext,
    email: Annotated[
        str, typer.Option("--email", help="Of the first owner.")
    ] = "admin@storefleet.localhost",
    postgres: Annotated[
        str, typer.Option("--postgres", metavar="HOST:PORT", help="The deployment's own one.")
    ] = "",
    nats: Annotated[
        str, typer.Option("--nats", metavar="HOST:PORT", help="The deployment's own one.")
    ] = "",
    stores: Annotated[
        bool, typer.Option("--stores", help="Stores have their databases there, too.")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", metavar="FOLDER", help="Keep them in files, not in the cluster."),
    ] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Remove them all.")] = False,
) -> None:
    """Make the deployment's secrets once, and keep those that are there."""
    del cli
    from storefleet.deployment import secrets as deployment
    from storefleet.deployment.secret_stores import FolderSecretStore, open_kubernetes_secret_store

    plan = deployment.SecretsPlan(
        admin_email=email, postgres_address=postgres, nats_address=nats, has_stores=stores
    )

    async def act() -> list[str]:
        opened = (
            contextlib.nullcontext(FolderSecretStore(folder))
            if folder is not None
            else open_kubernetes_secret_store()
        )
        async with opened as vault:
            made = [] if forget else await deployment.ensure_secrets(vault, plan)
            if forget:
                await deployment.delete_secrets(vault)
            if isinstance(vault, FolderSecretStore):
                vault.write_service_settings(await deployment.read_service_settings(vault))
            return made

    made = _run_until_signal(act())
    messages.write(
        "Removed." if forget else f"Made: {', '.join(made) or 'nothing, all were there'}."
    )


@command(app, "setup", uses_api=False)
def set_up_servers(
    cli: CommandContext,
    owner: OwnerOption,
    passwords: OwnPasswordsOption = None,
    timeout: WaitTimeoutOption = 600,
) -> None:
    """Bring servers to what the services need: roles, schema, streams, the first owner. Safe to repeat."""
    del cli
    settings = _configure_logging("setup")
    from storefleet.deployment.setup import SetupInput
    from storefleet.deployment.setup import set_up_deployment as act

    given = SetupInput(
        owner=_read_tenant(owner), passwords=_read_passwords(passwords) if passwords else {}
    )
    _run_until_signal(act(settings, given, timeout_s=timeout))


@command(app, "wait", uses_api=False)
def wait_for_schema(cli: CommandContext, timeout: WaitTimeoutOption = 600) -> None:
    """Wait until the database has the schema that this release needs."""
    del cli
    settings = _configure_logging("wait")
    from storefleet.deployment.setup import wait_for_schema as act

    _run_until_signal(act(settings, timeout_s=timeout))


@command(app, "streams", uses_api=False)
def keep_streams(cli: CommandContext) -> None:
    """Keep the streams on the bus, made anew whenever the server has lost them; until SIGTERM."""
    del cli
    settings = _configure_logging("streams")
    from storefleet.node.servers.stream_keeper import Streams

    async def act() -> None:
        keeper = Streams(settings.nats_url.get_secret_value(), replicas=settings.stream_replicas)
        async with keeper.opened():
            keeper.lost()
            await keeper.run()

    _run_until_signal(act())


@command(app, "postgres", uses_api=False)
def run_postgres(
    cli: CommandContext,
    data: DataOption,
    passwords: PasswordsOption,
    scratch: ScratchOption = Path("/tmp"),  # noqa: S108 - a container's own
    listen: ListenOption = "0.0.0.0",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5432,
) -> None:
    """Become the deployment's own PostgreSQL."""
    del cli
    from storefleet.deployment.servers import prepare_postgres, replace_process

    os.umask(0o077)
    replace_process(
        _run_until_signal(
            prepare_postgres(
                data_folder=data,
                passwords_folder=passwords,
                scratch_folder=scratch,
                listen_address=listen,
                port=port,
            )
        )
    )


@command(app, "nats", uses_api=False)
def run_nats(
    cli: CommandContext,
    data: DataOption,
    passwords: PasswordsOption,
    scratch: ScratchOption = Path("/tmp"),  # noqa: S108 - a container's own
    peers: Annotated[
        str, typer.Option("--peers", metavar="HOST:PORT,…", help="All servers, when several.")
    ] = "",
    listen: ListenOption = "0.0.0.0",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 4222,
    health_port: Annotated[int, typer.Option(min=1, max=65535)] = 8222,
) -> None:
    """Become the deployment's own nats-server."""
    del cli
    from storefleet.deployment.servers import prepare_nats, replace_process

    os.umask(0o077)
    argv = _translate_errors(
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


@command(app, "backup", uses_api=False)
def create_backup(
    cli: CommandContext,
    folder: BackupsOption,
    keep: Annotated[
        int, typer.Option("--keep", min=1, max=10_000, help="The newest so many stay.")
    ] = 14,
) -> None:
    """Dump the platform's database into a folder, and let old dumps go."""
    del cli
    settings = _configure_logging("backup")
    from storefleet.deployment.backups import create_backup

    made = _run_until_signal(
        create_backup(settings.database_url.get_secret_value(), folder, keep_count=keep)
    )
    messages.write(f"{made.name}  {made.size_bytes} bytes")


@command(app, "backups", uses_api=False)
def list_backups(cli: CommandContext, folder: BackupsOption) -> None:
    """List the dumps, the newest one first."""
    del cli
    from storefleet.deployment.backups import list_backups

    for each in list_backups(folder):
        messages.write(f"{each.name}  {each.size_bytes} bytes")


@command(app, "restore", uses_api=False)
def restore_backup(
    cli: CommandContext,
    folder: BackupsOption,
    name: Annotated[
        str,
        typer.Option(
            "--name", envvar="STOREFLEET_BACKUP", metavar="FILE", help="Which one; or latest."
        ),
    ],
    passwords: OwnPasswordsOption = None,
    timeout: WaitTimeoutOption = 600,
) -> None:
    """Put a dump in the place of the platform's database. The services must not run meanwhile."""
    del cli
    settings = _configure_logging("restore")
    from storefleet.deployment.setup import restore_database

    given = _read_passwords(passwords) if passwords else {}
    put = _run_until_signal(
        restore_database(settings, folder, name, passwords=given, timeout_s=timeout)
    )
    messages.write(f"Put back {put.name}.")


@command(app, "node", uses_api=False)
def run_node(cli: CommandContext) -> None:
    """Run the stores of the local runtime, beside services that run elsewhere."""
    del cli
    settings = load_settings()
    from storefleet.node.up import up

    raise typer.Exit(up(settings, ()))


@command(app, "check", uses_api=False)
def check_deployment(
    cli: CommandContext,
    owner: OwnerOption,
    gateway: Annotated[str, typer.Option("--gateway", metavar="URL")] = "http://gateway:8080",
    notifier: Annotated[str, typer.Option("--notifier", metavar="URL")] = "http://notifier:8081",
    timeout: WaitTimeoutOption = 60,
) -> None:
    """Try the deployment as a caller: ready, sign-in, token, live feed."""
    del cli
    from storefleet.deployment.deployment_check import Deployment
    from storefleet.deployment.deployment_check import check_deployment as act

    tenant = _read_tenant(owner)
    known = {
        "tenant": tenant.tenant_id,
        "email": tenant.email,
        "password": tenant.password,
        "token": tenant.token,
    }
    _run_until_signal(
        act(Deployment(gateway_url=gateway, notifier_url=notifier, owner=known), timeout_s=timeout)
    )
    messages.write("The deployment is ready, signs in, knows the token and opens the live feed.")


def _read_tenant(folder: Path) -> "NewTenant":
    from storefleet.auth.accounts import NewTenant
    from storefleet.deployment.servers import read_secret

    keys = ("tenant", "email", "password", "token")
    return NewTenant(*_translate_errors(lambda: [read_secret(folder / key) for key in keys]))


def _read_passwords(folder: Path) -> dict[str, str]:
    """By role, of all roles that have one there."""
    from storefleet.deployment.servers import read_secret

    prefix = "postgres_"
    files = sorted(folder.glob(f"{prefix}*"))
    if not files:
        raise CliError(
            f"There is no password of PostgreSQL in {folder}.",
            code="deployment_problem",
            next_step="mount the secret storefleet-postgres there",
        )
    return _translate_errors(
        lambda: {file.name.removeprefix(prefix): read_secret(file) for file in files}
    )


def _configure_logging(name: str) -> "Settings":
    """The settings, and log lines like those of the services."""
    from storefleet.observability import logs

    settings = load_settings()
    logs.configure_logging(name, settings.log_level)
    return settings


def _run_until_signal(work: Coroutine[Any, Any, _Result]) -> _Result:
    """To its end, or to SIGTERM: a container's first process would otherwise not hear it."""
    import asyncio

    async def run_cancellable() -> _Result:
        task = asyncio.create_task(work)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await task

    try:
        return _translate_errors(lambda: asyncio.run(run_cancellable()))
    except asyncio.CancelledError:
        raise typer.Exit(Interrupted.exit_code) from None


def _translate_errors(action: Callable[[], _Result]) -> _Result:
    from storefleet.deployment.deployment_error import DependencyNotReady, DeploymentError
    from storefleet.node.node_error import NodeError

    try:
        return action()
    except DependencyNotReady as error:
        raise TimedOut(
            str(error),
            code="timeout",
            next_step="kubectl get pods; kubectl logs of what is not ready",
        ) from None
    except (DeploymentError, NodeError) as error:
        raise CliError(
            str(error),
            code="deployment_problem",
            next_step="mend what is named; the job or pod starts again by itself",
        ) from error
