"""The command line where the encoding lacks characters: no data is lost, and JSON is JSON."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import yaml

from storefleet.cli.formatting import format_table, measure_width
from tests.support.http.scripted_gateway import (
    OPERATION,
    ScriptedGateway,
    make_operation,
    make_store,
    problem,
    run_scripted_gateway,
)
from tests.support.texts.samples import HARD_TITLES

HOSTILE = [*HARD_TITLES, "\x1b[2J\x9b31m\x07\r", "a\u202eb\u2066c", "\u2028\u2029\x85", "\ud800"]
ENCODINGS = {
    "utf-8": {"LC_ALL": "C.UTF-8"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "posix": {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "c": {"LANG": "C"},
}
#: What a terminal obeys, or what changes the direction of the text beside it.
COMMANDS_OF_TERMINALS = {*map(chr, range(0x20)), "\x7f", *map(chr, range(0x80, 0xA0))} - {"\n"} | {
    *map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A)))
}


@pytest.fixture(scope="module")
def gateway() -> Iterator[ScriptedGateway]:
    with run_scripted_gateway() as running:
        yield running


def run_cli(
    gateway: ScriptedGateway, encoding: str, *arguments: str
) -> subprocess.CompletedProcess[bytes]:
    environment = {"PATH": os.environ["PATH"], **gateway.environment, **ENCODINGS[encoding]}
    return subprocess.run(
        [sys.executable, "-m", "storefleet.cli.main", *arguments],
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )


def decode(encoding: str, raw: bytes) -> str:
    return raw.decode({"latin-1": "latin-1", "utf-8": "utf-8", "c": "utf-8"}.get(encoding, "ascii"))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_structured_output_has_all_data(gateway: ScriptedGateway, encoding: str) -> None:
    gateway.on("GET", "/stores/acme", make_store(parameters={"titles": HOSTILE}))
    for output_format in ("json", "yaml"):
        done = run_cli(gateway, encoding, "stores", "get", "acme", "-o", output_format)
        assert done.returncode == 0, done.stderr
        text = decode(encoding, done.stdout)
        assert not set(text) & COMMANDS_OF_TERMINALS
        read = json.loads(text) if output_format == "json" else yaml.safe_load(text)
        assert read["parameters"]["titles"] == HOSTILE


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_table_has_escapes_instead_of_question_marks(
    gateway: ScriptedGateway, encoding: str
) -> None:
    token = {"id": "tok_1", "prefix": "sft_x", "expires_at": None, "last_used_at": None}
    names = ["👩‍🍳", "Küche", "店", "a\u202eb\x1b[2J"]
    rows = [{**token, "name": name, "scopes": ["stores:read"]} for name in names]
    gateway.on("GET", "/tokens", {"data": rows, "has_more": False})
    done = run_cli(gateway, encoding, "tokens", "list")
    text = decode(encoding, done.stdout)
    assert not set(text) & COMMANDS_OF_TERMINALS
    assert "?" not in text
    lines = text.splitlines()
    columns = [measure_width(line[: line.index("sft_x")]) for line in lines[1:]]
    assert len(set(columns)) == 1, text
    if encoding in ("ascii", "posix"):
        assert "\\U0001f469\\u200d\\U0001f373" in lines[1]
        assert "K\\xfcche" in lines[2]


@pytest.mark.parametrize("encoding", ["ascii", "posix"])
def test_message_has_ascii_punctuation_and_escapes(gateway: ScriptedGateway, encoding: str) -> None:
    gateway.on("GET", "/stores/acme", problem(409, "busy", "The store “店” is busy · wait …"))
    done = run_cli(gateway, encoding, "stores", "get", "acme")
    assert b'error: The store "\\u5e97" is busy - wait ...\n' in done.stderr


def test_problem_is_told_once(gateway: ScriptedGateway) -> None:
    rule = "must have 3 to 40 characters"
    errors = [("/name", rule), ("/plan", "must be text"), ("/plan", "must be text")]
    answer = problem(422, "invalid", f"The name “Bad” {rule}.", errors=errors)
    gateway.on("POST", "/stores", answer)
    text = run_cli(gateway, "utf-8", "stores", "create", "Bad").stderr.decode()
    assert text.count(rule) == 1
    assert text.count("must be text") == 1


def test_failed_operation_is_explained_once(gateway: ScriptedGateway) -> None:
    operation = make_operation("failed")
    operation["steps"][1]["message"] = operation["error"]["detail"]
    gateway.on("GET", f"/operations/{OPERATION}", operation)
    gateway.on("GET", f"/stores/{operation['store_id']}", make_store(state="failed"))
    for command in ("watch", "get"):
        done = run_cli(gateway, "utf-8", "operations", command, OPERATION)
        text = (done.stdout + done.stderr).decode()
        assert text.count("There is no door.") == 1, text


@pytest.mark.parametrize(
    ("arguments", "message", "next_step"),
    [
        (
            ("operations", "get", "foo"),
            "“foo” is not the id of an operation: those begin with op_.",
            "storefleet operations list --store foo",
        ),
        (
            ("operations", "watch", "sto_1"),
            "sto_1 is the id of a store, not of an operation.",
            "storefleet stores get sto_1",
        ),
        (
            ("stores", "get", "op_1"),
            "op_1 is the id of an operation, not of a store.",
            "storefleet operations get op_1",
        ),
        (
            ("dead-letters", "show", "foo"),
            "“foo” is not the id of a dead letter: those begin with dl_.",
            "storefleet dead-letters list",
        ),
        (
            ("tokens", "revoke", "foo"),
            "“foo” is not the id of a token: those begin with tok_.",
            "storefleet tokens list",
        ),
        (("operations", "cancel", ""), "The id of an operation is missing.", "storefleet oper"),
    ],
)
def test_wrong_id_is_explained(
    gateway: ScriptedGateway, arguments: tuple[str, ...], message: str, next_step: str
) -> None:
    done = run_cli(gateway, "utf-8", *arguments)
    assert done.returncode == 2
    assert f"error: {message}\n" in done.stderr.decode()
    assert f"next: {next_step}" in done.stderr.decode()


@pytest.mark.parametrize("columns", ["20", "80"])
def test_wide_names_keep_columns_aligned(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    names = ["👩‍🍳", "🇬🇧", "漢字", "e\u0301", "می‌خواهم", "✂️", "👍🏽"]
    lines = format_table([(name, "x") for name in names], ("NAME", "END"))
    widths = {measure_width(line.rpartition("x")[0]) for line in lines[1:]}
    assert len(widths) == 1
