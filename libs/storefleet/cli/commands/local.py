"""`storefleet up`, `down`, `status`, `settings`, `migrate`: the platform on this machine, without the API."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from storefleet.cli.cli_errors import CliError, UsageError
from storefleet.cli.command import ALL_FORMATS, PLAIN_FORMATS, CommandContext, command
from storefleet.cli.endpoint import (
    LIVE_URL_VARIABLE,
    STATE_DIR_NAME,
    TOKEN_VARIABLE,
    URL_VARIABLE,
    find_state_dir,
)
from storefleet.cli.formatting import format_table
from storefleet.cli.output import messages
from storefleet.core.errors import StorefleetError

if TYPE_CHECKING:
    from storefleet.core.settings import Settings
    from storefleet.node.down import Report

StateDirOption = Annotated[
    Path | None,
    typer.Option(
        "--state-dir", metavar="FOLDER", help="Where everything is kept (STOREFLEET_STATE_DIR)."
    ),
]
PortOption = Annotated[int | None, typer.Option(min=1, max=65535)]
_Result = TypeVar("_Result")
_CLIENT_VARIABLES = {
    URL_VARIABLE: "Address of the gateway, for commands that call the API.",
    LIVE_URL_VARIABLE: "Address of the event websocket, for commands that call the API.",
    TOKEN_VARIABLE: "API token, for commands that call the API.",
}


def register_commands(app: typer.Typer) -> None:
    """Hang the commands on the root."""
    command(app, "up", uses_api=False)(run_platform)
    command(app, "down", uses_api=False)(stop_platform)
    command(app, "status", uses_api=False, formats=PLAIN_FORMATS)(show_status)
    command(app, "settings", uses_api=False, formats=ALL_FORMATS)(show_settings)
    command(app, "migrate", uses_api=False)(run_migrations)


def run_platform(
    cli: CommandContext,
    state_dir: StateDirOption = None,
    database_url: Annotated[
        str | None,
        typer.Option("--database-url", metavar="URL", help="Use this PostgreSQL, start none."),
    ] = None,
    nats_url: Annotated[
        str | None,
        typer.Option("--nats-url", metavar="URL", help="Use this NATS server, start none."),
    ] = None,
    gateway_port: PortOption = None,
    notifier_port: PortOption = None,
) -> None:
    """Run the whole platform in the foreground, until Ctrl-C or `storefleet down`."""
    del cli
    # The services are children and read their settings from the environment; secrets reach them in files instead.
    chosen = {"STATE_DIR": state_dir, "GATEWAY_PORT": gateway_port, "NOTIFIER_PORT": notifier_port}
    os.environ.update(
        {f"STOREFLEET_{name}": str(value) for name, value in chosen.items() if value is not None}
    )
    secrets = {"database_url": database_url, "nats_url": nats_url}
    settings = load_settings(
        **{name: value for name, value in secrets.items() if value is not None}
    )
    from storefleet.node.up import up as run

    raise typer.Exit(run(settings))


def stop_platform(cli: CommandContext, state_dir: StateDirOption = None) -> None:
    """Stop the platform of this folder, and wait for its end."""
    del cli
    settings = load_settings(state_dir=_resolve_state_dir(state_dir))
    from storefleet.node.down import down as stop

    messages.write(_translate_node_errors(lambda: stop(settings)))


def show_status(cli: CommandContext, state_dir: StateDirOption = None) -> None:
    """Show what runs in this folder; the exit status is 0 when all of it is ready."""
    settings = load_settings(state_dir=_resolve_state_dir(state_dir))
    from storefleet.node.down import status as look

    report = _translate_node_errors(lambda: look(settings))
    shape = report.to_json()
    cli.writer.write(shape, make_table=lambda: _format_status(report))
    if report.pid is None:
        raise CliError(
            f"Nothing runs on {settings.state_dir}.",
            code="not_running",
            next_step="make up (or: storefleet up)",
        )
    if away := [name for name, state in report.ready.items() if state != "ready"]:
        raise CliError(
            f"Not ready: {', '.join(away)}.",
            code="not_ready",
            next_step=f"look into {settings.state_dir / 'logs'}",
        )


def _format_status(report: "Report") -> list[str]:
    if report.pid is None:
        return []
    rows = [
        (name, pid, report.ready.get(name, "runs")) for name, pid in sorted(report.children.items())
    ]
    gone = [
        (name, "", state) for name, state in report.ready.items() if name not in report.children
    ]
    return [
        f"Storefleet runs, process {report.pid}.",
        "",
        *format_table([*rows, *gone], ("PART", "PROCESS", "STATE")),
    ]


def show_settings(cli: CommandContext) -> None:
    """Show every setting with its value, default and source; secrets are hidden."""
    from storefleet.core.settings import describe_settings

    rows = [*describe_settings(load_settings()), *_list_client_settings()]
    headers = ("NAME", "VALUE", "DEFAULT", "SOURCE")
    cli.writer.write(
        rows,
        make_table=lambda: format_table(
            [[row[header.lower()] for header in headers] for row in rows], headers
        ),
        names=[row["name"] for row in rows],
    )


def _list_client_settings() -> list[dict[str, str]]:
    return [
        {
            "name": name,
            "value": "(hidden)"
            if name == TOKEN_VARIABLE and os.environ.get(name)
            else os.environ.get(name, ""),
            "default": "",
            "source": "environment" if name in os.environ else "default",
            "description": description,
        }
        for name, description in _CLIENT_VARIABLES.items()
    ]


def run_migrations(
    cli: CommandContext,
    database_url: Annotated[
        str | None,
        typer.Option("--database-url", metavar="URL", help="PostgreSQL of the platform."),
    ] = None,
) -> None:
    """Bring the platform's database to the newest schema; safe to repeat, and from several places at once."""
    del cli
    settings = load_settings(**({} if database_url is None else {"database_url": database_url}))
    url = settings.database_url.get_secret_value()
    step = "set STOREFLEET_DATABASE_URL=postgresql://user:password@host:port/name, with special characters as %XX"
    if not url.startswith("postgresql://"):
        raise UsageError(
            "No database is set."
            if not url
            else "The database's address does not begin with postgresql://.",
            next_step=step,
            code="database_url_missing",
        )
    import asyncio

    from storefleet.database.migrate import migrate_database as upgrade

    try:
        asyncio.run(upgrade(url))
    except ValueError:  # its text may quote a piece of the password
        raise UsageError(
            "The database's address cannot be read.", next_step=step, code="database_url_invalid"
        ) from None
    except Exception as error:
        said = next(iter(str(error).splitlines()), "")[:500]
        raise CliError(
            f"The database could not be brought up to date: {type(error).__name__}: {said}",
            code="migration_failed",
            next_step="check the address, the user and its password; --debug shows the whole of it",
        ) from error
    messages.write("The database is up to date.")


def _resolve_state_dir(named: Path | None) -> Path:
    from storefleet.cli.endpoint import ConnectionOptions

    return find_state_dir(ConnectionOptions(state_dir=named), os.environ, Path.cwd()) or Path(
        STATE_DIR_NAME
    )


def load_settings(**overrides: Any) -> "Settings":
    """The settings; raises WrongUse that names the one that is wrong."""
    from storefleet.core.settings import SettingsError, read_settings

    try:
        return read_settings(**overrides)
    except SettingsError as error:
        raise UsageError(
            str(error),
            next_step="correct the setting; storefleet settings lists them all",
            code="setting_invalid",
        ) from None


def _translate_node_errors(action: Callable[[], _Result]) -> _Result:
    """What the node cannot do, as an error of ours."""
    try:
        return action()
    except StorefleetError as error:
        raise CliError(
            str(error), code="node_problem", next_step="storefleet status shows what runs"
        ) from None
