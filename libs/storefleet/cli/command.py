"""What all commands share: connection options, the output format, and the context they receive.

`command` registers a function with typer and adds the shared options to its own. The function
receives a `CommandContext` instead of these options.
"""

import inspect
import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

import typer

from storefleet.cli.client import GatewayClient
from storefleet.cli.endpoint import ApiAccess, ConnectionOptions, resolve_access
from storefleet.cli.output import Format, PlainFormat, ResultWriter, messages

ALL_FORMATS, PLAIN_FORMATS = Format, PlainFormat
LimitOption = Annotated[
    int, typer.Option("--limit", min=1, max=100_000, help="Maximum number of rows, newest first.")
]
AllOption = Annotated[bool, typer.Option("--all", help="List all rows.")]
WaitOption = Annotated[
    bool | None,
    typer.Option(
        "--wait/--no-wait", help="Wait until the operation ends; the default on a terminal."
    ),
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0.1, max=86_400, help="Maximum wait in seconds.")
]

_CONNECTION_PANEL = "Connection"
_CONNECTION_OPTIONS = {
    "url": Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            help="URL of the gateway (STOREFLEET_URL).",
            rich_help_panel=_CONNECTION_PANEL,
        ),
    ],
    "token": Annotated[
        str | None,
        typer.Option(
            "--token",
            metavar="TOKEN",
            help="API token. Other users of this machine can see it; "
            "use STOREFLEET_TOKEN to keep it private.",
            rich_help_panel=_CONNECTION_PANEL,
        ),
    ],
    "live_url": Annotated[
        str | None,
        typer.Option(
            "--live-url",
            metavar="URL",
            help="URL of the event websocket (STOREFLEET_LIVE_URL).",
            rich_help_panel=_CONNECTION_PANEL,
        ),
    ],
    "state_dir": Annotated[
        Path | None,
        typer.Option(
            "--state-dir",
            metavar="FOLDER",
            help="State folder of the local platform (STOREFLEET_STATE_DIR).",
            rich_help_panel=_CONNECTION_PANEL,
        ),
    ],
}
_DEBUG_OPTION = Annotated[
    bool, typer.Option("--debug", help="Print requests and tracebacks; secrets stay hidden.")
]


class CommandContext:
    """What a command needs: the API client, created when it is first used, and the writer."""

    def __init__(self, *, options: ConnectionOptions, writer: ResultWriter) -> None:
        self.options = options
        self.writer = writer

    @cached_property
    def access(self) -> ApiAccess:
        """URL and token; raises UsageError or AccessDenied where they are missing or invalid."""
        return resolve_access(self.options, os.environ, Path.cwd())

    @cached_property
    def api(self) -> GatewayClient:
        """The client of the gateway."""
        return GatewayClient(self.access)


def command(
    app: typer.Typer, name: str, *, formats: Any = None, uses_api: bool = True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a command that receives a context as its first argument.

    Args:
        app: The group that the command belongs to.
        name: The command's name.
        formats: The output formats, as a `Literal`; None for a command without `--output`.
        uses_api: Whether the command takes the connection options.

    Returns:
        A decorator that returns the function unchanged.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function).parameters.values())[1:]
        shared = _make_shared_options(formats, uses_api=uses_api)
        shared_names = {option.name for option in shared}

        def run(**values: Any) -> None:
            function(_make_context(values, shared_names), **values)

        run.__name__, run.__doc__ = function.__name__, function.__doc__
        run.__annotations__ = {
            parameter.name: parameter.annotation for parameter in (*own, *shared)
        }
        keyword = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*own, *shared)
        ]
        cast("Any", run).__signature__ = inspect.Signature(keyword)
        app.command(name)(run)
        return function

    return register


def _make_shared_options(formats: Any, *, uses_api: bool) -> list[inspect.Parameter]:
    annotations: dict[str, tuple[Any, Any]] = {"debug": (_DEBUG_OPTION, False)}
    if uses_api:
        annotations |= {
            name: (annotation, None) for name, annotation in _CONNECTION_OPTIONS.items()
        }
    if formats is not None:
        names = ", ".join(get_args(formats))
        option = typer.Option("--output", "-o", metavar="FORMAT", help=f"Output format: {names}.")
        annotations["output"] = (Annotated[formats, option], "table")
    return [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
        )
        for name, (annotation, default) in annotations.items()
    ]


def _make_context(values: dict[str, Any], shared_names: set[str]) -> CommandContext:
    """Move the shared options from the parsed values into a context."""
    shared = {name: values.pop(name) for name in shared_names}
    messages.debug_enabled = messages.debug_enabled or bool(shared.get("debug"))
    options = ConnectionOptions(**{name: shared.get(name) for name in _CONNECTION_OPTIONS})
    output_format: Literal["table", "json", "yaml", "name"] = shared.get("output", "table")
    return CommandContext(options=options, writer=ResultWriter(output_format))
