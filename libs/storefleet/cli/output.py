"""Data goes to standard output in the form that was asked for, everything else to standard error."""

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any, Literal

from storefleet.cli.cli_errors import CliError
from storefleet.cli.formatting import safe, safe_json
from storefleet.core.errors import StorefleetError

Format = Literal["table", "json", "yaml", "name"]
PlainFormat = Literal["table", "json", "yaml"]


class OutputClosed(StorefleetError):
    """The reader of standard output has gone: no reason to say anything."""

    exit_code = 141  # as a program that SIGPIPE has ended


class Messages:
    """Standard error: what a person is told beside the data."""

    def __init__(self) -> None:
        self.debugging = False

    def say(self, text: str) -> None:
        print(safe(text), file=sys.stderr, flush=True)

    def debug(self, text: str) -> None:
        if self.debugging:
            self.say(f"debug: {text}")

    def report(self, error: CliError) -> None:
        if self.debugging:
            traceback.print_exception(error, file=sys.stderr)
        for line in error.lines():
            self.say(line)

    def crashed(self, error: BaseException) -> None:
        if self.debugging:
            traceback.print_exception(error, file=sys.stderr)
        self.say(f"error: this command has a defect: {type(error).__name__}: {str(error)[:500]}")
        self.say("code: internal_error")
        self.say("next: run it again with --debug and report what it prints")


messages = Messages()


def is_terminal() -> bool:
    """Whether a person sits before both streams: only then does a command wait or ask by itself."""
    return sys.stdout.isatty() and sys.stderr.isatty()


def is_lively() -> bool:
    """Whether standard error can draw over itself."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


def emit(text: str) -> None:
    """Write data; raises OutputClosed when nobody reads any more, as behind `| head`."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # the interpreter flushes once more at its end
        raise OutputClosed from None


class Writer:
    """Writes one command's result in one format."""

    def __init__(self, chosen: Format) -> None:
        self.format = chosen

    @property
    def structured(self) -> bool:
        return self.format in ("json", "yaml")

    def write(
        self, shape: Any, *, table: Callable[[], Iterable[str]], names: Iterable[object] = ()
    ) -> None:
        """`shape` is the API's answer, `table` makes the lines for people, `names` are what other commands take."""
        if self.format == "table":
            lines = list(table())
        elif self.format == "name":
            lines = [safe(name) for name in names]
        else:
            lines = [as_json(shape) if self.format == "json" else as_yaml(shape)]
        if lines:
            emit("\n".join(lines))


def as_json(shape: Any, *, indent: int | None = 2) -> str:
    return safe_json(json.dumps(shape, ensure_ascii=False, indent=indent))


def as_yaml(shape: Any) -> str:
    import yaml

    text: str = yaml.safe_dump(shape, sort_keys=False, allow_unicode=True)
    return text.rstrip("\n")
