"""What all commands share: the options that say where the API is, the output format, and the way to a Cli."""

import inspect
import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

import typer

from storefleet.cli.client import Api
from storefleet.cli.endpoint import Access, Given, find_access
from storefleet.cli.output import Format, PlainFormat, Writer, messages

_PANEL = "Connection"
ALL, PLAIN = Format, PlainFormat
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="Most rows, newest first.")]
Everything = Annotated[bool, typer.Option("--all", help="All rows, whatever their number.")]
Wait = Annotated[
    bool | None,
    typer.Option("--wait/--no-wait", help="Wait for the end; by default only on a terminal."),
]
Timeout = Annotated[
    float, typer.Option("--timeout", min=0.1, max=86_400, help="Longest wait, seconds.")
]

_CONNECTION = {
    "url": Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            help="The gateway's address (STOREFLEET_URL).",
            rich_help_panel=_PANEL,
        ),
    ],
    "token": Annotated[
        str | None,
        typer.Option(
            "--token",
            metavar="TOKEN",
            help="API token; others on this machine can see it, STOREFLEET_TOKEN is private.",
            rich_help_panel=_PANEL,
        ),
    ],
    "live_url": Annotated[
        str | None,
        typer.Option(
            "--live-url",
            metavar="URL",
            help="The event websocket (STOREFLEET_LIVE_URL).",
            rich_help_panel=_PANEL,
        ),
    ],
    "state_dir": Annotated[
        Path | None,
        typer.Option(
            "--state-dir",
            metavar="FOLDER",
            help="State folder of the local platform (STOREFLEET_STATE_DIR).",
            rich_help_panel=_PANEL,
        ),
    ],
}
_DEBUG = Annotated[
    bool, typer.Option("--debug", help="Show requests and tracebacks, without secrets.")
]


class Cli:
    """One run of a command."""

    def __init__(self, *, given: Given, writer: Writer) -> None:
        self.given = given
        self.out = writer

    @cached_property
    def access(self) -> Access:
        return find_access(self.given, os.environ, Path.cwd())

    @cached_property
    def api(self) -> Api:
        return Api(self.access)


def command(
    app: typer.Typer, name: str, *, formats: Any = None, connects: bool = True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a command; it gets a Cli first, and the shared options stay out of its sight."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function).parameters.values())[1:]
        shared = _shared(formats, connects=connects)

        def run(**values: Any) -> None:
            function(_make_cli(values, {option.name for option in shared}), **values)

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


def _shared(formats: Any, *, connects: bool) -> list[inspect.Parameter]:
    annotations: dict[str, tuple[Any, Any]] = {"debug": (_DEBUG, False)}
    if connects:
        annotations |= {name: (annotation, None) for name, annotation in _CONNECTION.items()}
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


def _make_cli(values: dict[str, Any], shared: set[str]) -> Cli:
    """Take the shared values out of what was parsed."""
    taken = {name: values.pop(name) for name in shared}
    messages.debugging = messages.debugging or bool(taken.get("debug"))
    given = Given(**{name: taken.get(name) for name in _CONNECTION})
    chosen: Literal["table", "json", "yaml", "name"] = taken.get("output", "table")
    return Cli(given=given, writer=Writer(chosen))
