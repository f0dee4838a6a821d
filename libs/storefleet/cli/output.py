"""Data goes to standard output in the form that was asked for, everything else to standard error."""

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any, Literal

from storefleet.cli.cli_errors import CliError
from storefleet.cli.formatting import escape_json_controls, sanitize_text
from storefleet.core.errors import StorefleetError

Format = Literal["table", "json", "yaml", "name"]
PlainFormat = Literal["table", "json", "yaml"]


class OutputClosed(StorefleetError):
    """The reader of standard output has gone: no reason to say anything."""

    exit_code = 141  # as a program that SIGPIPE has ended


class MessageWriter:
    """Standard error: what a person is told beside the data."""

    def __init__(self) -> None:
        self.debug_enabled = False

    def write(self, text: str) -> None:
        print(sanitize_text(text), file=sys.stderr, flush=True)

    def write_debug(self, text: str) -> None:
        if self.debug_enabled:
            self.write(f"debug: {text}")

    def write_error(self, error: CliError) -> None:
        if self.debug_enabled:
            traceback.print_exception(error, file=sys.stderr)
        for line in error.format_lines():
            self.write(line)

    def write_crash(self, error: BaseException) -> None:
        if self.debug_enabled:
            traceback.print_exception(error, file=sys.stderr)
        self.write(f"error: this command has a defect: {type(error).__name__}: {str(error)[:500]}")
        self.write("code: internal_error")
        self.write("next: run it again with --debug and report what it prints")


messages = MessageWriter()


def is_terminal() -> bool:
    """Whether a person sits before both streams: only then does a command wait or ask by itself."""
    return sys.stdout.isatty() and sys.stderr.isatty()


def can_redraw() -> bool:
    """Whether standard error can draw over itself."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


def write_data(text: str) -> None:
    """Write data; raises OutputClosed when nobody reads any more, as behind `| head`."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # the interpreter flushes once more at its end
        raise OutputClosed from None


class ResultWriter:
    """Writes one command's result in one format."""

    def __init__(self, output_format: Format) -> None:
        self.output_format = output_format

    @property
    def is_structured(self) -> bool:
        return self.output_format in ("json", "yaml")

    def write(
        self, result: Any, *, make_table: Callable[[], Iterable[str]], names: Iterable[object] = ()
    ) -> None:
        """`shape` is the API's answer, `table` makes the lines for people, `names` are what other commands take."""
        if self.output_format == "table":
            lines = list(make_table())
        elif self.output_format == "name":
            lines = [sanitize_text(name) for name in names]
        else:
            lines = [format_json(result) if self.output_format == "json" else format_yaml(result)]
        if lines:
            write_data("\n".join(lines))


def format_json(value: Any, *, indent: int | None = 2) -> str:
    return escape_json_controls(json.dumps(value, ensure_ascii=False, indent=indent))


def format_yaml(value: Any) -> str:
    import yaml

    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    return text.rstrip("\n")
