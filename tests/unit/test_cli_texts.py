"""Server text cannot control the terminal; tables stay aligned."""

import json
from datetime import UTC, datetime

import pytest

from storefleet.cli.formatting import (
    format_age,
    format_duration,
    format_fields,
    format_one_line,
    format_table,
    sanitize_text,
)
from storefleet.cli.output import format_json

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("nasty", ["\x1b[2J", "\x9b31m", "\x07", "\r", "\x7f", "\u202e", "\0"])
def test_control_characters_are_removed(nasty: str) -> None:
    assert nasty not in sanitize_text(f"a{nasty}b")
    assert nasty not in format_json({"message": f"a{nasty}b"}) or nasty == "\u202e"


def test_printable_text_is_unchanged() -> None:
    assert sanitize_text("Café “Läden”\tund\nmehr 店") == "Café “Läden”\tund\nmehr 店"


def test_json_output_has_same_data() -> None:
    shape = {"a": ["\x9b", "é", "\n"], "b": None}
    assert json.loads(format_json(shape)) == shape


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("2026-01-02T11:59:15.000Z", "45s"),
        ("2026-01-02T11:48:00.000Z", "12m"),
        ("2026-01-02T08:30:00.000Z", "3h"),
        ("2025-12-24T12:00:00.000Z", "9d"),
        ("2026-01-02T12:00:05.000Z", "0s"),
        (None, "-"),
        ("nonsense", "-"),
    ],
)
def test_ages_are_formatted(then: str | None, said: str) -> None:
    assert format_age(then, now=NOW) == said


def test_durations_are_formatted() -> None:
    assert [format_duration(0.04), format_duration(59.9), format_duration(61)] == [
        "0.0 s",
        "59.9 s",
        "1 min 1 s",
    ]


def test_columns_align_with_wide_characters() -> None:
    lines = format_table([("店", "x"), ("ab\n c", None)], ("A", "B"))
    assert lines == ["A     B", "店    x", "ab c  -"]


def test_empty_facts_are_omitted() -> None:
    assert format_fields({"Name": "acme", "URL": None, "Longer": 0}) == [
        "Name:    acme",
        "Longer:  0",
    ]


def test_text_is_reduced_to_one_line() -> None:
    assert format_one_line("a\n  b\tc") == "a b c"
