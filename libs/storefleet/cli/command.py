"""What all commands share: the options that say where the API is, the output format, and the way to a Cli."""

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

_CONNECTION_PANEL = "Connection"
ALL_FORMATS, PLAIN_FORMATS = Format, PlainFormat
LimitOption = Annotated[
    int, typer.Option("--limit", min=1, max=100_000, help="Most rows, newest first.")
]
AllOption = Annotated[bool, typer.Option("--all", help="All rows, whatever their number.")]
WaitOption = Annotated[
    bool | None,
    typer.Option("--wait/--no-wait", help="Wait for the end; by default only on a terminal."),
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0.1, max=86_400, help="Longest wait, seconds.")
]

_CONNECTION_OPTIONS = {
    "url": Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            help="The gateway's address (STOREFLEET_URL).",
            rich_help_panel=_CONNECTION_PANEL,
        ),
    ],
    "token": Annotated[
        str | None,
        typer.Option(
            "--token",
            metavar="TOKEN",
            help="API token; others on this machine can see it, STOREFLEET_TOKEN is private.",
            rich_help_panel=_CONNECTION_PANEL,
        ),
    ],
    "live_url": Annotated[
        str | None,
        typer.Option(
            "--live-url",
            metavar="URL",
            help="The event websocket (STOREFLEET_LIVE_URL).",
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
    bool, typer.Option("--debug", help="Show requests and tracebacks, without secrets.")
]


class CommandContext:
    """One run of a command."""

    def __init__(self, *, options: ConnectionOptions, writer: ResultWriter) -> None:
        self.options = options
        self.writer = writer

    @cached_property
    def access(self) -> ApiAccess:
        return resolve_access(self.options, os.environ, Path.cwd())

    @cached_property
    def api(self) -> GatewayClient:
        return GatewayClient(self.access)


def command(
    app: typer.Typer, name: str, *, formats: Any = None, uses_api: bool = True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a command; it gets a Cli first, and the shared options stay out of its sight."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function).parameters.values())[1:]
        shared = _make_shared_options(formats, uses_api=uses_api)

        def run(**values: Any) -> None:
            function(_make_context(values, {option.name for option in shared}), **values)

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
        words = ", ".join(get_args(formats))
        option = typer.Option(
            "--output", "-o", metavar="FORMAT", help=f"How the result is written: {words}."
        )
        annotations["output"] = (Annotated[formats, option], "table")
    return [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
        )
        for name, (annotation, default) in annotations.items()
    ]


def _make_context(values: dict[str, Any], shared_names: set[str]) -> CommandContext:
    """Take the shared values out of what was parsed."""
    taken = {name: values.pop(name) for name in shared_names}
    messages.debug_enabled = messages.debug_enabled or bool(taken.get("debug"))
    given = ConnectionOptions(**{name: taken.get(name) for name in _CONNECTION_OPTIONS})
    chosen: Literal["table", "json", "yaml", "name"] = taken.get("output", "table")
    return CommandContext(options=given, writer=ResultWriter(chosen))
