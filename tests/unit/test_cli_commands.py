"""Commands from arguments to exit status, against a scripted gateway."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from storefleet.cli import output
from storefleet.cli.main import main
from storefleet.cli.progress_display import LiveDisplay
from tests.support.http.scripted_gateway import (
    OPERATION,
    STORE,
    TIME,
    TOKEN,
    ScriptedGateway,
    make_operation,
    make_store,
    problem,
    run_scripted_gateway,
)

ACCEPTED = {"store": make_store(), "operation": make_operation()}


class Run(NamedTuple):
    code: int
    out: str
    err: str


Runner = Callable[..., Run]


@pytest.fixture
def double() -> Iterator[ScriptedGateway]:
    with run_scripted_gateway() as running:
        yield running


@pytest.fixture
def run(
    double: ScriptedGateway,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Runner]:
    for name, value in double.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Run:
        code = main(list(arguments))
        said = capsys.readouterr()
        assert TOKEN not in said.out + said.err
        return Run(code, said.out, said.err)

    yield call
    output.messages.debug_enabled = False


def test_list_writes_every_format(double: ScriptedGateway, run: Runner) -> None:
    page = {"data": [make_store("acme", "ready"), make_store("gone", "deleted")], "has_more": False}
    double.on("GET", "/stores", page)
    assert run("stores", "list").out.splitlines()[0].split() == [
        "NAME",
        "STATE",
        "STOREFRONT",
        "ENGINE",
        "URL",
        "AGE",
        "ID",
    ]
    assert json.loads(run("stores", "list", "-o", "json").out) == page
    assert "name: acme" in run("stores", "list", "-o", "yaml").out
    assert run("stores", "list", "-o", "name").out.split() == ["acme", STORE]


@pytest.mark.parametrize(
    ("observed", "listed", "shown"),
    [
        ({"storefront": "serving"}, "Serving", ["Storefront:", "Serving (checked"]),
        (
            {"storefront": "closed_by_owner"},
            "Closed by its owner",
            ["Closed by its owner (checked", "Visitors see a notice", "Next:", "Open the store"],
        ),
        ({"storefront": "protected"}, "Protected by a password or sign-in", ["Visitors need a"]),
        ({"storefront": "down"}, "Not answering", ["Not answering (checked", "Read the store's"]),
        (
            {"storefront": "serving", "cron": "closed_by_owner"},
            "Serving",
            ["Scheduled tasks:", "Closed by its owner", "permit the cron address"],
        ),
        ({"storefront": "asleep"}, "asleep", ["asleep (checked"]),
    ],
)
def test_observed_class_is_shown_in_words(
    double: ScriptedGateway, run: Runner, observed: dict[str, str], listed: str, shown: list[str]
) -> None:
    store = make_store("acme", "ready", observed={"checked_at": TIME, "cron": "none", **observed})
    double.on("GET", "/stores", {"data": [store], "has_more": False})
    double.on("GET", "/stores/acme", store)
    assert listed in run("stores", "list").out
    said = run("stores", "get", "acme").out
    for words in shown:
        assert words in said


@pytest.mark.parametrize("observed", [{}, {"observed": {"storefront": "unknown", "cron": "none"}}])
def test_unknown_class_is_left_out(
    double: ScriptedGateway, run: Runner, observed: dict[str, object]
) -> None:
    double.on("GET", "/stores/acme", make_store("acme", "upgrading", **observed))
    said = run("stores", "get", "acme").out
    assert "Storefront" not in said
    assert "Scheduled tasks" not in said


def test_all_flag_reads_every_page(double: ScriptedGateway, run: Runner) -> None:
    first = {"data": [make_store(id="sto_2")], "has_more": True}
    double.on("GET", "/stores", first, {"data": [make_store(id="sto_1")], "has_more": False})
    found = json.loads(run("stores", "list", "--all", "-o", "json").out)
    assert [store["id"] for store in found["data"]] == ["sto_2", "sto_1"]
    assert found["has_more"] is False


def test_empty_list_message_goes_to_stderr(double: ScriptedGateway, run: Runner) -> None:
    double.on("GET", "/stores", {"data": [], "has_more": False})
    assert run("stores", "list") == Run(
        0, "", "No stores yet. To create one: storefleet stores create NAME\n"
    )


def test_create_does_not_wait_without_terminal(double: ScriptedGateway, run: Runner) -> None:
    double.on("POST", "/stores", ACCEPTED)
    said = run("stores", "create", "acme", "-o", "json")
    assert said.code == 0
    assert json.loads(said.out) == ACCEPTED
    assert f"storefleet operations watch {OPERATION}" in said.err
    assert not double.asked("GET", f"/operations/{OPERATION}")


def test_create_is_retried_with_one_idempotency_key(double: ScriptedGateway, run: Runner) -> None:
    double.on(
        "POST", "/stores", ScriptedGateway.CUT, problem(503, "database_unavailable"), ACCEPTED
    )
    assert run("stores", "create", "acme").code == 0
    keys = [headers["Idempotency-Key"] for _, _, headers, _ in double.asked("POST", "/stores")]
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_unsafe_request_is_not_retried(double: ScriptedGateway, run: Runner) -> None:
    double.on("POST", "/stores/acme/retry", ScriptedGateway.CUT)
    said = run("stores", "retry", "acme")
    assert (said.code, len(double.asked("POST", "/stores/acme/retry"))) == (1, 1)
    assert "code: gateway_unreachable" in said.err
    assert "request: cli_" in said.err


def test_parameters_are_converted_by_schema(double: ScriptedGateway, run: Runner) -> None:
    kinds = {"count": "integer", "open": "boolean", "title": "string", "tags": "array"}
    schema = {"properties": {name: {"type": kind} for name, kind in kinds.items()}}
    double.on(
        "GET", "/engines", {"data": [{"name": "oscar", "default": True, "parameters": schema}]}
    )
    double.on("POST", "/stores", ACCEPTED)
    given = ["count=5", "open=yes", "title=2026", 'tags=["a"]', "other=x=y"]
    run("stores", "create", "acme", *(word for text in given for word in ("--param", text)))
    body = double.asked("POST", "/stores")[0][3]
    parameters = {"count": 5, "open": True, "title": "2026", "tags": ["a"], "other": "x=y"}
    assert body == {"name": "acme", "parameters": parameters}


def test_wait_prints_steps_and_result(double: ScriptedGateway, run: Runner) -> None:
    double.on("POST", "/stores", ACCEPTED)
    double.on(
        "GET",
        f"/operations/{OPERATION}",
        make_operation(),
        make_operation("running"),
        make_operation("succeeded"),
    )
    double.on("GET", f"/stores/{STORE}", make_store("acme", "ready"))
    said = run("stores", "create", "acme", "--wait")
    assert said.code == 0
    assert "URL:     http://acme.localhost:8100/" in said.out
    assert "[1/2] Lay the floor: succeeded" in said.err
    assert "acme is ready" in said.err
    assert "\x1b" not in said.out + said.err


def test_wait_uses_event_stream(double: ScriptedGateway, run: Runner) -> None:
    double.on("GET", "/stores/acme", make_store())
    double.on("GET", "/operations", {"data": [make_operation("running")], "has_more": False})
    double.on(
        "GET", f"/operations/{OPERATION}", make_operation("running")
    )  # polling alone would never see the end
    double.on("GET", f"/stores/{STORE}", make_store("acme", "ready"))
    double.event(1)
    ended = threading.Timer(0.5, double.event, (2, make_operation("succeeded")))
    ended.start()
    assert run("stores", "watch", "acme").code == 0
    ended.join()


def test_wait_works_without_event_stream(
    double: ScriptedGateway, run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOREFLEET_LIVE_URL", "ws://127.0.0.1:1")
    double.on("POST", "/stores", ACCEPTED)
    double.on(
        "GET", f"/operations/{OPERATION}", make_operation("running"), make_operation("succeeded")
    )
    double.on("GET", f"/stores/{STORE}", make_store("acme", "ready"))
    assert run("stores", "create", "acme", "--wait").code == 0


def test_wait_survives_gateway_outage(double: ScriptedGateway, run: Runner) -> None:
    double.on("POST", "/stores", ACCEPTED)
    away = [ScriptedGateway.CUT] * 3
    double.on(
        "GET",
        f"/operations/{OPERATION}",
        *away,
        problem(503, "database_unavailable"),
        make_operation("succeeded"),
    )
    double.on("GET", f"/stores/{STORE}", make_store("acme", "ready"))
    said = run("stores", "create", "acme", "--wait")
    assert said.code == 0
    assert "the gateway does not answer" in said.err


def test_failed_operation_exits_3_with_next_step(double: ScriptedGateway, run: Runner) -> None:
    double.on("POST", "/stores", ACCEPTED)
    double.on("GET", f"/operations/{OPERATION}", make_operation("failed"))
    double.on("GET", f"/stores/{STORE}", make_store("acme", "failed"))
    said = run("stores", "create", "acme", "--wait", "-o", "json")
    assert said.code == 3
    assert json.loads(said.out)["operation"]["error"]["code"] == "no_door"
    for fact in (
        "There is no door.",
        "code: no_door",
        "next: Build one; then: storefleet stores retry acme",
        "request: ",
    ):
        assert fact in said.err


def test_cancelled_operation_exits_3(double: ScriptedGateway, run: Runner) -> None:
    double.on("GET", f"/operations/{OPERATION}", make_operation("cancelled"))
    double.on("GET", f"/stores/{STORE}", make_store())
    assert run("operations", "watch", OPERATION).code == 3


def test_wait_timeout_exits_5(double: ScriptedGateway, run: Runner) -> None:
    double.on("POST", "/stores", ACCEPTED)
    double.on("GET", f"/operations/{OPERATION}", make_operation("running"))
    said = run("stores", "create", "acme", "--wait", "--timeout", "0.3")
    assert said.code == 5
    assert f"next: storefleet operations watch {OPERATION}" in said.err
    assert "request: cli_" in said.err


@pytest.mark.parametrize(
    ("answer", "code", "next_step"),
    [
        (problem(401, "unauthenticated"), 4, "check STOREFLEET_TOKEN"),
        (problem(403, "scope_missing"), 4, "--scope"),
        (problem(404, "not_found"), 1, "storefleet stores list"),
        (problem(409, "no_credentials"), 1, "storefleet stores get acme"),
        (problem(429, "stores_per_hour", **{"Retry-After": "17"}), 1, "try again in 17 s"),
        (problem(500, "internal_error"), 1, "request id"),
    ],
)
def test_problems_map_to_exit_status(
    double: ScriptedGateway, run: Runner, answer: Any, code: int, next_step: str
) -> None:
    double.on("POST", "/stores/acme/credentials", answer)
    said = run("stores", "credentials", "acme")
    assert said.code == code
    assert said.out == ""
    assert next_step in said.err
    assert "request: req_of_double" in said.err


def test_unreachable_gateway_is_reported(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOREFLEET_URL", "http://127.0.0.1:1")
    said = run("stores", "list")
    assert said.code == 1
    assert "code: gateway_unreachable" in said.err


def test_delete_requires_confirmation_by_name(double: ScriptedGateway, run: Runner) -> None:
    double.on("GET", f"/stores/{STORE}", make_store())
    double.on(
        "DELETE",
        f"/stores/{STORE}",
        {"store": make_store(), "operation": make_operation(kind="delete")},
    )
    assert run("stores", "delete", STORE).code == 2
    assert run("stores", "delete", STORE, "--confirm", "acne").code == 2
    assert not double.asked("DELETE", f"/stores/{STORE}")
    assert run("stores", "delete", STORE, "--confirm", "acme").code == 0
    assert double.asked("DELETE", f"/stores/{STORE}")


def test_names_are_escaped_in_path(double: ScriptedGateway, run: Runner) -> None:
    assert run("stores", "get", "../tokens?x=1").code == 1
    assert [path for _, path, _, _ in double.requests] == ["/stores/../tokens?x=1"]
    assert run("stores", "get", "").code == 2
    assert run("stores", "get", "..").code == 2


def test_dead_letter_is_replayed(double: ScriptedGateway, run: Runner) -> None:
    double.on("POST", "/dead-letters/dl_1/replay", ACCEPTED)
    assert run("dead-letters", "replay", "dl_1", "-o", "name").out == f"{OPERATION}\n"


def test_log_lines_are_sanitized(double: ScriptedGateway, run: Runner) -> None:
    double.on("GET", "/stores/acme/logs", {"data": ["one \x1b]0;evil\x07", "two"]})
    said = run("stores", "logs", "acme")
    assert said.out.splitlines()[1] == "two"
    assert "\x1b" not in said.out


def test_mails_are_listed_in_pages_and_sanitized(double: ScriptedGateway, run: Runner) -> None:
    mail = {
        "id": "17",
        "created_at": "2026-12-01T10:00:00.000Z",
        "from": "Acme <shop@acme.example>",
        "to": ["ann@example.com", "bob@example.com"],
        "subject": "Order \u202e1042\x1b[31m",
    }
    double.on("GET", "/stores/acme/mail", {"data": [mail], "has_more": False})
    said = run("stores", "mail", "acme")
    header, row = said.out.splitlines()
    assert header.split() == ["ID", "AGE", "TO", "SUBJECT"]
    assert row.startswith("17 ")
    assert "ann@example.com, bob@example.com" in row
    assert not {"\u202e", "\x1b"} & set(said.out)
    assert json.loads(run("stores", "mail", "acme", "-o", "json").out)["data"] == [mail]
    double.on("GET", "/stores/acme/mail", {"data": [], "has_more": False})
    empty = run("stores", "mail", "acme")
    assert (empty.code, empty.out) == (0, "")
    assert "No mails yet" in empty.err


def test_mail_is_opened(double: ScriptedGateway, run: Runner) -> None:
    mail: dict[str, Any] = {
        "id": "17",
        "created_at": "2026-12-01T10:00:00.000Z",
        "from": "Acme <shop@acme.example>",
        "to": ["ann@example.com"],
        "subject": "Order 1042",
        "text": "Thank you\n\n2 mugs\x1b]0;evil\x07",
        "html": "<p>Thank you",
        "truncated": True,
    }
    double.on("GET", "/stores/acme/mail/17", mail)
    said = run("stores", "mail", "acme", "17")
    lines = said.out.splitlines()
    assert "Subject:  Order 1042" in lines
    assert "Note:     cut at 256 KiB" in lines
    assert lines[lines.index("") + 1 :][:3] == ["Thank you", "", "2 mugs\ufffd]0;evil\ufffd"]
    double.on("GET", "/stores/acme/mail/17", {**mail, "text": None})
    assert "HTML only" in run("stores", "mail", "acme", "17").out
    double.on("GET", "/stores/acme/mail/18", problem(409, "no_mail_outbox"))
    refused = run("stores", "mail", "acme", "18")
    assert (refused.code, "storefleet stores get acme" in refused.err) == (1, True)


def test_debug_shows_requests_without_secrets(double: ScriptedGateway, run: Runner) -> None:
    double.on("GET", "/stores/acme", problem(404, "not_found"))
    for said in (run("stores", "get", "acme", "--debug"), run("--debug", "stores", "get", "acme")):
        assert "debug: GET /api/v1/stores/acme -> 404" in said.err
        assert "Traceback" in said.err


@pytest.mark.parametrize(
    "arguments", [["stores", "nonsense"], ["stores", "get"], ["stores", "list", "--limit", "x"], []]
)
def test_usage_error_exits_2(run: Runner, arguments: list[str]) -> None:
    assert run(*arguments).code == 2


@pytest.mark.parametrize(
    "noun", ["", "stores", "operations", "events", "dead-letters", "engines", "tokens"]
)
def test_help_is_printed(run: Runner, noun: str) -> None:
    said = run(*([noun] if noun else []), "--help")
    assert said.code == 0
    assert "Usage" in said.out


def test_settings_hide_secrets(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOREFLEET_DATABASE_URL", "postgresql://u:hunter2@h/d")
    said = run("settings", "-o", "json")
    rows = {row["name"]: row for row in json.loads(said.out)}
    assert rows["STOREFLEET_DATABASE_URL"]["value"] == "(hidden)"
    assert rows["STOREFLEET_TOKEN"]["source"] == "environment"
    assert rows["STOREFLEET_GATEWAY_PORT"]["default"] == "8080"
    assert "hunter2" not in said.out


def test_invalid_setting_is_reported_in_one_line(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOREFLEET_GATEWAY_PORT", "eighty")
    said = run("settings")
    assert said.code == 2
    assert "error: STOREFLEET_GATEWAY_PORT: " in said.err


def test_status_and_down_without_local_node(run: Runner) -> None:
    assert run("status").code == 1
    assert run("down") == Run(0, "", "Nothing is running.\n")


@pytest.mark.parametrize("url", ["", "mysql://x/y", "postgresql://u@h:hunter2/d"])
def test_migrate_requires_database_url(run: Runner, url: str) -> None:
    said = run("migrate", "--database-url", url)
    assert said.code == 2
    assert "hunter2" not in said.err


def test_closed_pipe_is_silent(double: ScriptedGateway) -> None:
    double.on("GET", "/stores/acme/logs", {"data": ["a line of some length"] * 20_000})
    process = _start(double, "stores", "logs", "acme")
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(20) == 141


def test_interrupt_exits_130_with_next_step(double: ScriptedGateway) -> None:
    double.on("GET", f"/operations/{OPERATION}", make_operation("running"))
    double.on("GET", f"/stores/{STORE}", make_store())
    process = _start(double, "operations", "watch", OPERATION)
    _until(lambda: len(double.asked("GET", f"/operations/{OPERATION}")) > 1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert f"next: storefleet operations watch {OPERATION}" in said
    assert "Traceback" not in said


def test_tail_prints_events_and_last_position(double: ScriptedGateway) -> None:
    double.event(1, make_operation("running"))
    double.event(2, store_id="sto_of_another", data={"store": make_store("other")})
    double.event(3)
    process = _start(double, "events", "tail", "--after", "0", "--store", "acme", "-o", "json")
    assert process.stdout is not None
    frames = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert [frame["seq"] for frame in frames] == [1, 3]
    assert frames[0] == double.history[0]
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "next: storefleet events tail --after 3" in said


def test_operation_is_rendered_with_steps() -> None:
    picture = LiveDisplay("acme")
    picture.show(make_operation("running"))
    lines = picture.render().plain.splitlines()
    assert "Creating acme  step 2 of 2" in lines[0]
    assert lines[1].startswith("  ✓ Lay the floor     0.0 s")
    assert lines[2].endswith("x�[2J")
    picture.show_notice("away")
    assert picture.render().plain.splitlines()[-1] == "  away"
    picture.show(make_operation("failed"))
    assert picture.render().plain.startswith("✗ creation of acme failed (0.0 s)")


def test_start_imports_no_heavy_modules() -> None:
    heavy = ["aiohttp", "asyncio", "pydantic", "rich.live", "yaml", "sqlalchemy"]
    code = f"import sys, storefleet.cli.main; print([m for m in {heavy} if m in sys.modules])"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert said.stdout.strip() == "[]"


def _start(double: ScriptedGateway, *arguments: str) -> "subprocess.Popen[str]":
    """Start with SIGINT enabled, which a background shell disables for its children."""
    return subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "storefleet.cli.main", *arguments],
        env=double.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def test_create_sends_version_and_plan(double: ScriptedGateway, run: Runner) -> None:
    double.on("POST", "/stores", ACCEPTED)
    assert run("stores", "create", "acme", "--version", "2.0.0", "--plan", "large").code == 0
    assert double.asked("POST", "/stores")[0][3] == {
        "name": "acme",
        "version": "2.0.0",
        "plan": "large",
    }


def test_upgrade_is_requested_and_awaited(double: ScriptedGateway, run: Runner) -> None:
    accepted = {"store": make_store("acme", "ready"), "operation": make_operation(kind="upgrade")}
    double.on("POST", "/stores/acme/upgrade", accepted)
    double.on("GET", f"/operations/{OPERATION}", make_operation("succeeded", "upgrade"))
    double.on(
        "GET", f"/stores/{STORE}", make_store("acme", "ready", engine_version="2.0.0", plan="small")
    )
    said = run("stores", "upgrade", "acme", "2.0.0", "--wait")
    assert said.code == 0
    assert double.asked("POST", "/stores/acme/upgrade")[0][3] == {"version": "2.0.0"}
    assert "acme is upgraded" in said.err
    assert "oscar 2.0.0" in said.out
    assert "small" in said.out


def failed_with(kind: str, code: str, **asked: object) -> dict[str, Any]:
    error = {
        "code": code,
        "detail": "It broke.",
        "step": None,
        "next": "Mend it.",
        "retryable": True,
    }
    return make_operation("failed", kind, error=error, input=asked)


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [
        ("upgrade", "image_missing", "storefleet stores upgrade acme 2.0.0"),
        ("upgrade", "rollback_failed", "storefleet stores retry acme"),
        (
            "rollback",
            "orders_would_be_lost",
            "storefleet stores rollback acme --restore --discard-orders",
        ),
        ("rollback", "unschedulable", "storefleet stores retry acme"),
    ],
)
def test_failed_version_change_prints_next_step(
    double: ScriptedGateway, run: Runner, kind: str, code: str, words: str
) -> None:
    operation = failed_with(kind, code, to="2.0.0")
    double.on(
        "POST",
        f"/stores/acme/{kind}",
        {"store": make_store("acme", "ready"), "operation": operation},
    )
    double.on("GET", f"/stores/{STORE}", make_store("acme", "ready"))
    arguments = ("stores", kind, "acme", *(("2.0.0",) if kind == "upgrade" else ()))
    said = run(*arguments, "--wait")
    assert said.code == 3
    assert f"code: {code}" in said.err
    assert said.err.rstrip().splitlines()[-1].endswith(words) or words in said.err


def test_rollback_prints_result(double: ScriptedGateway, run: Runner) -> None:
    accepted = {"store": make_store("acme", "ready"), "operation": make_operation(kind="rollback")}
    double.on("POST", "/stores/acme/rollback", accepted)
    assert run("stores", "rollback", "acme").code == 0
    assert run("stores", "rollback", "acme", "--restore", "--discard-orders").code == 0
    bodies = [body for _, _, _, body in double.asked("POST", "/stores/acme/rollback")]
    assert bodies == [
        {"restore": False, "discard_orders": False},
        {"restore": True, "discard_orders": True},
    ]
    wrong = run("stores", "rollback", "acme", "--discard-orders")
    assert wrong.code == 2
    assert "code: restore_missing" in wrong.err


def entry(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "operation_id": f"op_000000000000000{number}",
        "kind": "upgrade",
        "state": "succeeded",
        "from": "1",
        "to": "2",
        "restore": False,
        "plan": "small",
        "by": {"id": "tok_1", "name": "ci\x1b[2J"},
        "created_at": None,
        "finished_at": None,
        "error": None,
        **changes,
    }


def test_history_is_paged_with_failures(double: ScriptedGateway, run: Runner) -> None:
    error = {"code": "x", "detail": "It broke.", "step": None, "next": "", "retryable": True}
    first = {
        "data": [entry(3, kind="rollback", restore=True), entry(2, state="failed", error=error)],
        "has_more": True,
    }
    double.on(
        "GET", "/stores/acme/history", first, {"data": [entry(1, kind="create")], "has_more": False}
    )
    said = run("stores", "history", "acme", "--all")
    assert said.out.splitlines()[0].split() == [
        "KIND",
        "FROM",
        "TO",
        "STATE",
        "BY",
        "AGE",
        "OPERATION",
    ]
    assert "rollback with database" in said.out
    assert len(said.out.splitlines()) == 4
    assert "\x1b" not in said.out
    assert "op_0000000000000002: It broke." in said.err


def test_resource_usage_is_printed(double: ScriptedGateway, run: Runner) -> None:
    resources = [{"name": "pods", "used": "2", "hard": "3", "share": 0.667}]
    some, none = (
        {"plan": "small", "title": "Small", "resources": resources},
        {"plan": "", "title": "", "resources": None},
    )
    double.on("GET", "/stores/acme/usage", some, none)
    said = run("stores", "usage", "acme")
    assert said.out.splitlines()[1].split() == ["pods", "2", "3", "67%"]
    assert "Small" in said.err
    assert run("stores", "usage", "acme") == Run(
        0, "", "This store has no limits, so its usage is not measured.\n"
    )


def test_engines_list_plans(double: ScriptedGateway, run: Runner) -> None:
    plans = [{"name": "small", "title": "Small", "default": True, "summary": {}}]
    engine = {
        "name": "oscar",
        "title": "Oscar",
        "versions": [{"version": "1"}, {"version": "2"}],
        "plans": plans,
    }
    double.on("GET", "/engines", {"data": [engine]})
    assert run("engines", "list").out.splitlines()[1].split()[:4] == ["oscar", "1,", "2", "small"]
