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
from storefleet.cli.command import Cli, command
from storefleet.cli.commands.local import load_settings
from storefleet.cli.output import messages

if TYPE_CHECKING:
    from storefleet.auth.accounts import NewTenant
    from storefleet.core.settings import Settings

app = typer.Typer(
    name="platform", help="What a deployment runs besides the services.", no_args_is_help=True
)

Folder = Annotated[Path, typer.Option(metavar="FOLDER")]
OwnPasswords = Annotated[
    Path | None,
    typer.Option(
        "--passwords",
        metavar="FOLDER",
        help="Where storefleet-postgres is mounted, if it is our own.",
    ),
]
Patience = Annotated[
    float, typer.Option("--timeout", min=1, max=86_400, help="Longest wait, seconds.")
]
Passwords = Annotated[
    Path,
    typer.Option("--passwords", metavar="FOLDER", help="Where the server's secret is mounted."),
]
Data = Annotated[
    Path, typer.Option("--data", metavar="FOLDER", help="Where the server keeps everything.")
]
Scratch = Annotated[
    Path, typer.Option("--scratch", metavar="FOLDER", help="For files that need not be kept.")
]
Listen = Annotated[
    str, typer.Option("--listen", metavar="ADDRESS", help="Where the server listens.")
]
Backups = Annotated[Path, typer.Option("--folder", metavar="FOLDER", help="Where the dumps are.")]
Owner = Annotated[
    Path, typer.Option("--owner", metavar="FOLDER", help="Where storefleet-admin is mounted.")
]
_Result = TypeVar("_Result")


@command(app, "secrets", connects=False)
def secrets(
    cli: Cli,
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
    from storefleet.deployment.secret_stores import FolderVault, cluster_vault

    plan = deployment.Plan(email=email, postgres=postgres, nats=nats, stores=stores)

    async def act() -> list[str]:
        opened = (
            contextlib.nullcontext(FolderVault(folder)) if folder is not None else cluster_vault()
        )
        async with opened as vault:
            made = [] if forget else await deployment.ensure(vault, plan)
            if forget:
                await deployment.forget(vault)
            if isinstance(vault, FolderVault):
                vault.lay_out(await deployment.settings_of(vault))
            return made

    made = _run(act())
    messages.say("Removed." if forget else f"Made: {', '.join(made) or 'nothing, all were there'}.")


@command(app, "setup", connects=False)
def setup(
    cli: Cli,
    owner: Owner,
    passwords: OwnPasswords = None,
    timeout: Patience = 600,
) -> None:
    """Bring servers to what the services need: roles, schema, streams, the first owner. Safe to repeat."""
    del cli
    settings = _logging("setup")
    from storefleet.deployment.setup import Given
    from storefleet.deployment.setup import setup as act

    given = Given(owner=_tenant(owner), passwords=_passwords(passwords) if passwords else {})
    _run(act(settings, given, patience=timeout))


@command(app, "wait", connects=False)
def wait(cli: Cli, timeout: Patience = 600) -> None:
    """Wait until the database has the schema that this release needs."""
    del cli
    settings = _logging("wait")
    from storefleet.deployment.setup import wait as act

    _run(act(settings, patience=timeout))


@command(app, "streams", connects=False)
def streams(cli: Cli) -> None:
    """Keep the streams on the bus, made anew whenever the server has lost them; until SIGTERM."""
    del cli
    settings = _logging("streams")
    from storefleet.node.servers.stream_keeper import Streams

    async def act() -> None:
        keeper = Streams(settings.nats_url.get_secret_value(), replicas=settings.stream_replicas)
        async with keeper.opened():
            keeper.lost()
            await keeper.run()

    _run(act())


@command(app, "postgres", connects=False)
def postgres(
    cli: Cli,
    data: Data,
    passwords: Passwords,
    scratch: Scratch = Path("/tmp"),  # noqa: S108 - a container's own
    listen: Listen = "0.0.0.0",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5432,
) -> None:
    """Become the deployment's own PostgreSQL."""
    del cli
    from storefleet.deployment.servers import become, prepare_postgres

    os.umask(0o077)
    become(
        _run(
            prepare_postgres(
                data=data, passwords=passwords, scratch=scratch, listen=listen, port=port
            )
        )
    )


@command(app, "nats", connects=False)
def nats(
    cli: Cli,
    data: Data,
    passwords: Passwords,
    scratch: Scratch = Path("/tmp"),  # noqa: S108 - a container's own
    peers: Annotated[
        str, typer.Option("--peers", metavar="HOST:PORT,…", help="All servers, when several.")
    ] = "",
    listen: Listen = "0.0.0.0",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 4222,
    health_port: Annotated[int, typer.Option(min=1, max=65535)] = 8222,
) -> None:
    """Become the deployment's own nats-server."""
    del cli
    from storefleet.deployment.servers import become, prepare_nats

    os.umask(0o077)
    argv = _translated(
        lambda: prepare_nats(
            data=data,
            passwords=passwords,
            scratch=scratch,
            name=socket.gethostname(),
            peers=tuple(peer for peer in peers.split(",") if peer),
            listen=listen,
            port=port,
            health_port=health_port,
        )
    )
    become(argv, GOMEMLIMIT=os.environ.get("GOMEMLIMIT", "128MiB"))


@command(app, "backup", connects=False)
def backup(
    cli: Cli,
    folder: Backups,
    keep: Annotated[
        int, typer.Option("--keep", min=1, max=10_000, help="The newest so many stay.")
    ] = 14,
) -> None:
    """Dump the platform's database into a folder, and let old dumps go."""
    del cli
    settings = _logging("backup")
    from storefleet.deployment.backups import back_up

    made = _run(back_up(settings.database_url.get_secret_value(), folder, keep=keep))
    messages.say(f"{made.name}  {made.size} bytes")


@command(app, "backups", connects=False)
def backups(cli: Cli, folder: Backups) -> None:
    """List the dumps, the newest one first."""
    del cli
    from storefleet.deployment.backups import backups_in

    for each in backups_in(folder):
        messages.say(f"{each.name}  {each.size} bytes")


@command(app, "restore", connects=False)
def restore(
    cli: Cli,
    folder: Backups,
    name: Annotated[
        str,
        typer.Option(
            "--name", envvar="STOREFLEET_BACKUP", metavar="FILE", help="Which one; or latest."
        ),
    ],
    passwords: OwnPasswords = None,
    timeout: Patience = 600,
) -> None:
    """Put a dump in the place of the platform's database. The services must not run meanwhile."""
    del cli
    settings = _logging("restore")
    from storefleet.deployment.setup import put_back

    given = _passwords(passwords) if passwords else {}
    put = _run(put_back(settings, folder, name, passwords=given, patience=timeout))
    messages.say(f"Put back {put.name}.")


@command(app, "node", connects=False)
def node(cli: Cli) -> None:
    """Run the stores of the local runtime, beside services that run elsewhere."""
    del cli
    settings = load_settings()
    from storefleet.node.up import up

    raise typer.Exit(up(settings, ()))


@command(app, "check", connects=False)
def check(
    cli: Cli,
    owner: Owner,
    gateway: Annotated[str, typer.Option("--gateway", metavar="URL")] = "http://gateway:8080",
    notifier: Annotated[str, typer.Option("--notifier", metavar="URL")] = "http://notifier:8081",
    timeout: Patience = 60,
) -> None:
    """Try the deployment as a caller: ready, sign-in, token, live feed."""
    del cli
    from storefleet.deployment.deployment_check import Deployment
    from storefleet.deployment.deployment_check import check as act

    tenant = _tenant(owner)
    known = {
        "tenant": tenant.tenant_id,
        "email": tenant.email,
        "password": tenant.password,
        "token": tenant.token,
    }
    _run(act(Deployment(gateway=gateway, notifier=notifier, owner=known), patience=timeout))
    messages.say("The deployment is ready, signs in, knows the token and opens the live feed.")


def _tenant(folder: Path) -> "NewTenant":
    from storefleet.auth.accounts import NewTenant
    from storefleet.deployment.servers import read_secret

    keys = ("tenant", "email", "password", "token")
    return NewTenant(*_translated(lambda: [read_secret(folder / key) for key in keys]))


def _passwords(folder: Path) -> dict[str, str]:
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
    return _translated(
        lambda: {file.name.removeprefix(prefix): read_secret(file) for file in files}
    )


def _logging(name: str) -> "Settings":
    """The settings, and log lines like those of the services."""
    from storefleet.observability import logs

    settings = load_settings()
    logs.configure_logging(name, settings.log_level)
    return settings


def _run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """To its end, or to SIGTERM: a container's first process would otherwise not hear it."""
    import asyncio

    async def until_told() -> _Result:
        task = asyncio.create_task(work)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await task

    try:
        return _translated(lambda: asyncio.run(until_told()))
    except asyncio.CancelledError:
        raise typer.Exit(Interrupted.exit_code) from None


def _translated(act: Callable[[], _Result]) -> _Result:
    from storefleet.deployment.deployment_error import DeploymentError, NotYet
    from storefleet.node.node_error import NodeError

    try:
        return act()
    except NotYet as error:
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
