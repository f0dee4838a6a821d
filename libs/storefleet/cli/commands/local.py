"""`storefleet up`, `down`, `status`, `settings`, `migrate`: the platform on this machine.

These commands do not use the API: they start, stop and inspect processes and the database.
"""

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
    ConnectionOptions,
    find_state_dir,
)
from storefleet.cli.formatting import format_table
from storefleet.cli.output import messages
from storefleet.core.errors import StorefleetError

if TYPE_CHECKING:
    from storefleet.core.settings import Settings
    from storefleet.node.down import NodeStatus

StateDirOption = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        metavar="FOLDER",
        help="State folder of the local platform (STOREFLEET_STATE_DIR).",
    ),
]
GatewayPortOption = Annotated[
    int | None,
    typer.Option(min=1, max=65535, help="Port of the HTTP API and the dashboard."),
]
NotifierPortOption = Annotated[
    int | None, typer.Option(min=1, max=65535, help="Port of the event websocket.")
]
_Result = TypeVar("_Result")
_CLIENT_VARIABLES = {
    URL_VARIABLE: "URL of the gateway, for commands that call the API.",
    LIVE_URL_VARIABLE: "URL of the event websocket, for commands that call the API.",
    TOKEN_VARIABLE: "API token, for commands that call the API.",
}
_DATABASE_URL_STEP = (
    "set STOREFLEET_DATABASE_URL=postgresql://user:password@host:port/name, "
    "with special characters as %XX"
)


def register_commands(app: typer.Typer) -> None:
    """Add the commands to the root."""
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
        typer.Option(
            "--database-url", metavar="URL", help="Use this PostgreSQL instead of starting one."
        ),
    ] = None,
    nats_url: Annotated[
        str | None,
        typer.Option(
            "--nats-url", metavar="URL", help="Use this NATS server instead of starting one."
        ),
    ] = None,
    gateway_port: GatewayPortOption = None,
    notifier_port: NotifierPortOption = None,
) -> None:
    """Run the platform in the foreground, until Ctrl-C or `storefleet down`."""
    del cli
    # The services are child processes that read their settings from the environment; secrets reach
    # them in files instead.
    given = {"STATE_DIR": state_dir, "GATEWAY_PORT": gateway_port, "NOTIFIER_PORT": notifier_port}
    os.environ.update(
        {f"STOREFLEET_{name}": str(value) for name, value in given.items() if value is not None}
    )
    secrets = {"database_url": database_url, "nats_url": nats_url}
    settings = load_settings(
        **{name: value for name, value in secrets.items() if value is not None}
    )
    from storefleet.node.up import run_local_node

    raise typer.Exit(run_local_node(settings))


def stop_platform(cli: CommandContext, state_dir: StateDirOption = None) -> None:
    """Stop the local platform and wait until it has ended."""
    del cli
    settings = load_settings(state_dir=_resolve_state_dir(state_dir))
    from storefleet.node.down import stop_local_node

    messages.write(_translate_node_errors(lambda: stop_local_node(settings)))


def show_status(cli: CommandContext, state_dir: StateDirOption = None) -> None:
    """Show what runs locally; the exit status is 0 if everything is ready."""
    settings = load_settings(state_dir=_resolve_state_dir(state_dir))
    from storefleet.node.down import read_status

    report = _translate_node_errors(lambda: read_status(settings))
    cli.writer.write(report.to_json(), make_table=lambda: _format_status(report))
    if report.pid is None:
        raise CliError(
            f"Nothing runs in the state folder {settings.state_dir}.",
            code="not_running",
            next_step="make up (or: storefleet up)",
        )
    if waiting := [name for name, state in report.services.items() if state != "ready"]:
        raise CliError(
            f"Not ready: {', '.join(waiting)}.",
            code="not_ready",
            next_step=f"read the logs in {settings.state_dir / 'logs'}",
        )


def _format_status(report: "NodeStatus") -> list[str]:
    if report.pid is None:
        return []
    rows = [
        (name, report.stores.get(name), pid, report.services.get(name, "running"))
        for name, pid in sorted(report.children.items())
    ]
    missing = [
        (name, "", "", state)
        for name, state in report.services.items()
        if name not in report.children
    ]
    return [
        f"Storefleet is running, process {report.pid}.",
        "",
        *format_table([*rows, *missing], ("PART", "STORE", "PROCESS", "STATE")),
    ]


def show_settings(cli: CommandContext) -> None:
    """List all settings with value, default and source; secrets stay hidden."""
    from storefleet.core.settings_report import describe_settings

    rows = [*describe_settings(load_settings()), *_list_client_settings()]
    headers = ("NAME", "VALUE", "DEFAULT", "SOURCE")
    cells = [[row[header.lower()] for header in headers] for row in rows]
    cli.writer.write(
        rows,
        make_table=lambda: format_table(cells, headers),
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
    """Migrate the platform's database; safe to repeat and to run concurrently."""
    del cli
    settings = load_settings(**({} if database_url is None else {"database_url": database_url}))
    url = settings.database_url.get_secret_value()
    if not url.startswith("postgresql://"):
        detail = "The database URL does not start with postgresql://."
        raise UsageError(
            detail if url else "No database is set.",
            next_step=_DATABASE_URL_STEP,
            code="database_url_missing",
        )
    import asyncio

    from storefleet.database.migrate import migrate_database

    try:
        asyncio.run(migrate_database(url))
    except ValueError:  # its text may contain a part of the password
        raise UsageError(
            "The database URL cannot be parsed.",
            next_step=_DATABASE_URL_STEP,
            code="database_url_invalid",
        ) from None
    except Exception as error:
        cause = next(iter(str(error).splitlines()), "")[:500]
        raise CliError(
            f"The migration failed: {type(error).__name__}: {cause}",
            code="migration_failed",
            next_step="check URL, user and password; --debug prints the traceback",
        ) from error
    messages.write("The database schema is up to date.")


def _resolve_state_dir(named: Path | None) -> Path:
    options = ConnectionOptions(state_dir=named)
    return find_state_dir(options, os.environ, Path.cwd()) or Path(STATE_DIR_NAME)


def load_settings(**overrides: Any) -> "Settings":
    """Read the settings from the environment.

    Args:
        overrides: Values that replace those of the environment.

    Returns:
        The validated settings.

    Raises:
        UsageError: A setting is invalid; the text names it.
    """
    from storefleet.core.settings import SettingsError, read_settings

    try:
        return read_settings(**overrides)
    except SettingsError as error:
        raise UsageError(
            str(error),
            next_step="correct the setting; `storefleet settings` lists all of them",
            code="setting_invalid",
        ) from None


def _translate_node_errors(action: Callable[[], _Result]) -> _Result:
    """Run an action and translate the local node's errors to those of the command line."""
    try:
        return action()
    except StorefleetError as error:
        raise CliError(
            str(error), code="node_problem", next_step="`storefleet status` shows what runs"
        ) from None
