"""`storefleet platform`: the commands that a deployment's pods run besides the services.

People seldom call them. The servers and the backups are in `platform_servers` and
`platform_backups`.
"""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from storefleet.cli.command import CommandContext, command
from storefleet.cli.commands.local import load_settings
from storefleet.cli.deployment_command import (
    OwnPasswordsOption,
    WaitTimeoutOption,
    configure_logging,
    read_passwords,
    run_until_signal,
    translate_errors,
)
from storefleet.cli.output import messages

if TYPE_CHECKING:
    from storefleet.auth.tenants import NewTenant

app = typer.Typer(
    name="platform",
    help="Run the parts of a deployment besides the services.",
    no_args_is_help=True,
)
OwnerOption = Annotated[
    Path, typer.Option("--owner", metavar="FOLDER", help="Mount of the secret storefleet-admin.")
]


@command(app, "secrets", uses_api=False)
def ensure_secrets(
    cli: CommandContext,
    email: Annotated[
        str, typer.Option("--email", help="E-mail address of the first owner.")
    ] = "admin@storefleet.localhost",
    postgres: Annotated[
        str,
        typer.Option(
            "--postgres", metavar="HOST:PORT", help="Address of the deployment's own PostgreSQL."
        ),
    ] = "",
    nats: Annotated[
        str,
        typer.Option("--nats", metavar="HOST:PORT", help="Address of the deployment's own NATS."),
    ] = "",
    stores: Annotated[
        bool,
        typer.Option("--stores", help="Also create the role for the databases of local stores."),
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder", metavar="FOLDER", help="Keep the secrets in files instead of the cluster."
        ),
    ] = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete all secrets of the deployment.")
    ] = False,
) -> None:
    """Create the missing secrets of the deployment; existing ones are kept."""
    del cli
    from storefleet.deployment import secrets
    from storefleet.deployment.secret_stores import FolderSecretStore, open_kubernetes_secret_store

    plan = secrets.SecretsPlan(
        admin_email=email, postgres_address=postgres, nats_address=nats, has_stores=stores
    )

    async def update_secrets() -> list[str]:
        opened = (
            contextlib.nullcontext(FolderSecretStore(folder))
            if folder is not None
            else open_kubernetes_secret_store()
        )
        async with opened as secret_store:
            created = [] if delete else await secrets.ensure_secrets(secret_store, plan)
            if delete:
                await secrets.delete_secrets(secret_store)
            if isinstance(secret_store, FolderSecretStore):
                settings = await secrets.read_service_settings(secret_store)
                secret_store.write_service_settings(settings)
            return created

    created = run_until_signal(update_secrets())
    if delete:
        messages.write("Deleted all secrets of the deployment.")
    elif created:
        messages.write(f"Created: {', '.join(created)}.")
    else:
        messages.write("All secrets exist; nothing was created.")


@command(app, "setup", uses_api=False)
def set_up_servers(
    cli: CommandContext,
    owner: OwnerOption,
    passwords: OwnPasswordsOption = None,
    timeout: WaitTimeoutOption = 600,
) -> None:
    """Create missing roles, schema, streams and the first owner; safe to repeat."""
    del cli
    settings = configure_logging("setup")
    from storefleet.deployment.setup import SetupInput, set_up_deployment

    setup_input = SetupInput(
        owner=_read_tenant(owner), passwords=read_passwords(passwords) if passwords else {}
    )
    run_until_signal(set_up_deployment(settings, setup_input, timeout_s=timeout))


@command(app, "wait", uses_api=False)
def wait_until_migrated(cli: CommandContext, timeout: WaitTimeoutOption = 600) -> None:
    """Wait until the database has the schema of this release."""
    del cli
    settings = configure_logging("wait")
    from storefleet.deployment.setup import wait_for_schema

    run_until_signal(wait_for_schema(settings, timeout_s=timeout))


@command(app, "node", uses_api=False)
def run_node(cli: CommandContext) -> None:
    """Run the stores of the local runtime, beside services that run elsewhere."""
    del cli
    settings = load_settings()
    from storefleet.node.up import run_local_node

    raise typer.Exit(run_local_node(settings, ()))


@command(app, "check", uses_api=False)
def check_from_outside(
    cli: CommandContext,
    owner: OwnerOption,
    gateway: Annotated[
        str, typer.Option("--gateway", metavar="URL", help="URL of the gateway.")
    ] = "http://gateway:8080",
    notifier: Annotated[
        str, typer.Option("--notifier", metavar="URL", help="URL of the notifier.")
    ] = "http://notifier:8081",
    timeout: WaitTimeoutOption = 60,
) -> None:
    """Check the deployment as a client: readiness, sign-in, token, event feed."""
    del cli
    from storefleet.deployment.deployment_check import Deployment, check_deployment

    tenant = _read_tenant(owner)
    credentials = {
        "tenant": tenant.tenant_id,
        "email": tenant.email,
        "password": tenant.password,
        "token": tenant.token,
    }
    deployment = Deployment(gateway_url=gateway, notifier_url=notifier, owner=credentials)
    run_until_signal(check_deployment(deployment, timeout_s=timeout))
    messages.write("The deployment is ready: sign-in, token and event feed work.")


def _read_tenant(folder: Path) -> "NewTenant":
    from storefleet.auth.tenants import NewTenant
    from storefleet.deployment.servers import read_secret

    keys = ("tenant", "email", "password", "token")
    return NewTenant(*translate_errors(lambda: [read_secret(folder / key) for key in keys]))
