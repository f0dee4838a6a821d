"""Format values for terminals: times, tables, and text without control characters.

Text from a server must not control the terminal, so everything that is printed passes
`sanitize_text` or `escape_json_controls`.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

# C0 and C1 controls, and the marks that change the writing direction: a store's log is untrusted.
_UNSAFE_CHARACTERS = {
    **{code: "�" for code in (*range(0x20), 0x7F, *range(0x80, 0xA0)) if code not in (0x09, 0x0A)},
    **dict.fromkeys((*range(8234, 8239), *range(8294, 8298)), "�"),
}
_ESCAPED_CHARACTERS = {
    code: f"\\u{code:04x}"
    for code in (0x7F, *range(0x80, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A))
}


def sanitize_text(text: object) -> str:
    """Replace the characters that control a terminal; tabs and line feeds stay."""
    return str(text).translate(_UNSAFE_CHARACTERS)


def format_one_line(text: object) -> str:
    """Sanitize a text and join its lines with single spaces."""
    return " ".join(sanitize_text(text).split())


def escape_json_controls(text: str) -> str:
    """Escape the characters that the JSON encoder leaves as they are and a terminal obeys."""
    return text.translate(_ESCAPED_CHARACTERS)


def can_encode(text: str, stream: TextIO) -> bool:
    """Return whether a stream can write a text without replacing characters."""
    try:
        text.encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def escape_unencodable(text: str, stream: TextIO) -> str:
    """Escape the characters that a stream lacks, so that the width of the text is known."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def parse_time(value: object) -> datetime | None:
    """Parse an RFC 3339 timestamp; None if it is missing or malformed."""
    try:
        return datetime.fromisoformat(str(value)) if value else None
    except ValueError:
        return None


def format_age(value: object, *, now: datetime | None = None) -> str:
    """Format the time since a timestamp in one unit: `45s`, `12m`, `3h`, `9d`."""
    then = parse_time(value)
    if then is None:
        return "-"
    seconds = max(0.0, ((now or datetime.now(UTC)) - then).total_seconds())
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "m"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds // size:.0f}{unit}"
    return f"{seconds // 86_400:.0f}d"


def format_duration(seconds: float) -> str:
    """Format a duration: `4.2 s` below a minute, else `3 min 20 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def get_elapsed_s(started: object, finished: object) -> float | None:
    """Return the seconds between two timestamps; None if one is missing."""
    begin, end = parse_time(started), parse_time(finished)
    return max(0.0, (end - begin).total_seconds()) if begin and end else None


def get_operation_noun(operation: Mapping[str, Any]) -> str:
    """Return the kind of an operation as a noun, such as `creation`."""
    kind = str(operation["kind"])
    return {"create": "creation", "delete": "deletion"}.get(kind, kind)


def measure_width(text: str) -> int:
    """Count the terminal columns of a text: wide characters take two, joined ones are one."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def format_table(rows: Iterable[Sequence[object]], headers: Sequence[str]) -> list[str]:
    """Format rows as columns two spaces apart; empty cells become `-`.

    Args:
        rows: The cells, one per header.
        headers: The titles of the columns.

    Returns:
        The lines, the titles first. The last column is not padded.
    """
    table = [list(headers)]
    table += [[_format_cell(cell) for cell in row] for row in rows]
    widths = [
        max(measure_width(row[position]) for row in table) for position in range(len(headers))
    ]
    return [
        "  ".join(
            cell + " " * (size - measure_width(cell))
            for cell, size in zip(row, widths, strict=True)
        ).rstrip()
        for row in table
    ]


def _format_cell(cell: object) -> str:
    return "-" if cell in (None, "") else escape_unencodable(format_one_line(cell), sys.stdout)


def format_fields(pairs: Mapping[str, Any]) -> list[str]:
    """Format one `Name:  value` per line; empty values are left out."""
    shown = {name: value for name, value in pairs.items() if value not in (None, "", [], {})}
    longest = max((len(name) for name in shown), default=0) + 1
    return [f"{name + ':':<{longest}}  {format_one_line(value)}" for name, value in shown.items()]
