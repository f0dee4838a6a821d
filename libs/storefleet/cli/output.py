r"""Standard output and standard error: results in the chosen format, messages beside them.

Where a stream's encoding lacks a character, results have its escape (`\u2713`), so that no data is
lost and JSON stays JSON; messages have a similar ASCII character where there is one.
"""

import codecs
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any, Literal

from storefleet.cli.cli_errors import CliError
from storefleet.cli.formatting import can_encode, escape_json_controls, sanitize_text
from storefleet.core.errors import StorefleetError

Format = Literal["table", "json", "yaml", "name"]
PlainFormat = Literal["table", "json", "yaml"]

_MESSAGE_ERRORS = "storefleet.message"
_ASCII_MARKS = str.maketrans(
    {
        "\u201c": '"',
        "\u201d": '"',
        "\u2019": "'",
        "\u2013": "-",
        "…": "...",
        "·": "-",
        "→": "->",
        "✓": "ok",
        "✗": "!",
    }
)


def configure_streams() -> None:
    """Let both streams escape what their encoding lacks, instead of failing or losing it."""
    codecs.register_error(_MESSAGE_ERRORS, _replace_in_message)
    for stream, errors in ((sys.stdout, "backslashreplace"), (sys.stderr, _MESSAGE_ERRORS)):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=errors)


def _replace_in_message(error: UnicodeError) -> tuple[str | bytes, int]:
    """Encode typography as ASCII, and everything else that is missing as an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_ASCII_MARKS)
    return text.encode("ascii", "backslashreplace").decode(), error.end


class OutputClosed(StorefleetError):
    """The reader of standard output is gone; the command ends without a message."""

    exit_code = 141  # as for a program that SIGPIPE has ended


class MessageWriter:
    """Writes messages for people to standard error."""

    def __init__(self) -> None:
        self.debug_enabled = False

    def write(self, text: str) -> None:
        """Write a message, without control characters."""
        print(sanitize_text(text), file=sys.stderr, flush=True)

    def write_debug(self, text: str) -> None:
        """Write a message only if `--debug` was given."""
        if self.debug_enabled:
            self.write(f"debug: {text}")

    def write_error(self, error: CliError) -> None:
        """Write an error with code, next step and request id."""
        if self.debug_enabled:
            traceback.print_exception(error, file=sys.stderr)
        for line in error.format_lines():
            self.write(line)

    def write_crash(self, error: BaseException) -> None:
        """Write an exception that no code has translated."""
        if self.debug_enabled:
            traceback.print_exception(error, file=sys.stderr)
        self.write(f"error: Internal error: {type(error).__name__}: {str(error)[:500]}")
        self.write("code: internal_error")
        self.write("next: repeat the command with --debug and report its output")


messages = MessageWriter()


def is_terminal() -> bool:
    """Return whether both streams are terminals; only then does a command wait or ask."""
    return sys.stdout.isatty() and sys.stderr.isatty()


def can_redraw() -> bool:
    """Return whether standard error is a terminal that can move its cursor."""
    has_cursor = os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    return sys.stderr.isatty() and has_cursor and can_encode("✓⠋…", sys.stderr)


def write_data(text: str) -> None:
    """Write a result to standard output.

    Args:
        text: The text, without the final line feed.

    Raises:
        OutputClosed: The reader is gone, as with `| head`.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # The interpreter flushes standard output once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputClosed from None


class ResultWriter:
    """Writes the result of one command in one format."""

    def __init__(self, output_format: Format) -> None:
        self.output_format = output_format

    @property
    def is_structured(self) -> bool:
        """Whether the format is for programs: JSON or YAML."""
        return self.output_format in ("json", "yaml")

    def write(
        self, result: Any, *, make_table: Callable[[], Iterable[str]], names: Iterable[object] = ()
    ) -> None:
        """Write a result.

        Args:
            result: The API's response, for JSON and YAML.
            make_table: Returns the lines for people.
            names: The ids or names that other commands take, for the format `name`.

        Raises:
            OutputClosed: The reader of standard output is gone.
        """
        if self.output_format == "table":
            lines = list(make_table())
        elif self.output_format == "name":
            lines = [sanitize_text(name) for name in names]
        else:
            lines = [format_json(result) if self.output_format == "json" else format_yaml(result)]
        if lines:
            write_data("\n".join(lines))


def format_json(value: Any, *, indent: int | None = 2) -> str:
    """Format a value as JSON with readable Unicode and escaped control characters.

    Where standard output cannot encode it, all of it is ASCII: JSON has its own escapes.
    """
    text = escape_json_controls(json.dumps(value, ensure_ascii=False, indent=indent))
    return text if can_encode(text, sys.stdout) else json.dumps(value, indent=indent)


def format_yaml(value: Any) -> str:
    """Format a value as YAML, without the final line feed."""
    import yaml

    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    if escape_json_controls(text) != text or not can_encode(text, sys.stdout):
        text = yaml.safe_dump(value, sort_keys=False)
    return text.rstrip("\n")
