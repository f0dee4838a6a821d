"""The entry point: the tree of commands, and one place where failures become words and an exit status."""

import sys
from typing import Annotated

import typer

from storefleet import __version__
from storefleet.cli.cli_errors import CliError, Interrupted, UsageError
from storefleet.cli.commands import (
    dead_letters,
    engines,
    events,
    local,
    operations,
    platform,
    stores,
    tokens,
    versions,
)
from storefleet.cli.output import OutputClosed, messages

app = typer.Typer(
    name="storefleet",
    help="Whole online shops, one command each.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
local.register_commands(app)
versions.register_commands(stores.app)
for _name, _sub in (
    ("stores", stores.app),
    ("operations", operations.app),
    ("events", events.app),
    ("dead-letters", dead_letters.app),
    ("engines", engines.app),
    ("tokens", tokens.app),
    ("platform", platform.app),
):
    app.add_typer(_sub, name=_name)


def _print_version(requested: bool) -> None:
    if requested:
        print(f"storefleet {__version__}")
        raise typer.Exit


@app.callback()
def configure_root(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show requests and tracebacks, without secrets.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Whole online shops, one command each."""
    del version
    messages.debug_enabled = debug


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(
                errors="replace"
            )  # a terminal without ✓ gets a ? instead of a traceback
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
    except Exception as error:  # noqa: BLE001 - the last resort; --debug shows it whole
        messages.write_crash(error)
        return 1
    if result == Interrupted.exit_code:
        messages.write("Interrupted.")
    return result if isinstance(result, int) else 0


def _report_usage_error(error: typer.TyperException) -> int:
    """A command line that cannot be read; a noun without a verb has printed its help already."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "storefleet"
    if detail := error.format_message():
        messages.write_error(UsageError(detail, next_step=f"{command} --help"))
    return error.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
