"""The entry point: builds the command tree and maps exceptions to messages and exit statuses."""

from typing import Annotated

import typer

from storefleet import __version__
from storefleet.cli.cli_errors import CliError, Interrupted, UsageError
from storefleet.cli.commands import (
    dead_letters,
    engines,
    events,
    local,
    mail,
    operations,
    platform,
    platform_backups,
    platform_servers,
    stores,
    tokens,
    versions,
)
from storefleet.cli.output import OutputClosed, configure_streams, messages

app = typer.Typer(
    name="storefleet",
    help="Create and manage online stores.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
local.register_commands(app)
versions.register_commands(stores.app)
mail.register_commands(stores.app)
platform_servers.register_commands(platform.app)
platform_backups.register_commands(platform.app)
for _name, _group in (
    ("stores", stores.app),
    ("operations", operations.app),
    ("events", events.app),
    ("dead-letters", dead_letters.app),
    ("engines", engines.app),
    ("tokens", tokens.app),
    ("platform", platform.app),
):
    app.add_typer(_group, name=_name)


def _print_version(requested: bool) -> None:
    if requested:
        print(f"storefleet {__version__}")
        raise typer.Exit


@app.callback()
def configure_root(
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Print requests and tracebacks; secrets stay hidden."),
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Create and manage online stores."""
    del version
    messages.debug_enabled = debug


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The words after the program's name; None reads `sys.argv`.

    Returns:
        The exit status.
    """
    configure_streams()
    try:
        result = app(arguments, prog_name="storefleet", standalone_mode=False)
    except CliError as error:
        messages.write_error(error)
        return error.exit_code
    except typer.TyperException as error:
        return _report_usage_error(error)
    except typer.Abort:
        return Interrupted.exit_code
    except OutputClosed as error:
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the last resort; --debug prints the traceback
        messages.write_crash(error)
        return 1
    if result == Interrupted.exit_code:
        messages.write("Interrupted.")
    return result if isinstance(result, int) else 0


def _report_usage_error(error: typer.TyperException) -> int:
    """Print why the command line is invalid; a group without a command has printed its help."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "storefleet"
    if detail := error.format_message():
        messages.write_error(UsageError(detail, next_step=f"{command} --help"))
    return error.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
