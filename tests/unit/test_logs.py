"""Log lines: JSON, with ids, without secrets."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from storefleet.observability import logs


class Stream(io.StringIO):
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def stream(log_lines: io.StringIO) -> Iterator[Stream]:
    made = Stream()
    structlog.contextvars.clear_contextvars()
    logs.configure_logging("tester", "info", made)
    yield made
    structlog.contextvars.clear_contextvars()
    logs.configure_logging("tests", "info", log_lines)


def test_line_is_json_with_service_module_and_ids(stream: Stream) -> None:
    logs.bind_log_context(request_id="req_1", store_id=None)
    structlog.get_logger(module="here").info("happened", count=3)
    (line,) = stream.lines()
    assert (line["event"], line["service"], line["module"], line["level"]) == (
        "happened",
        "tester",
        "here",
        "info",
    )
    assert (line["request_id"], line["count"]) == ("req_1", 3)
    assert "store_id" not in line
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize(
    "key", ["password", "admin_password", "Authorization", "cookie", "secret_key", "credentials"]
)
def test_secrets_are_hidden(stream: Stream, key: str) -> None:
    structlog.get_logger().info("happened", **{key: "hush"})
    assert stream.lines()[0][key] == "(hidden)"
    assert "hush" not in stream.getvalue()


def test_library_logs_use_same_format(stream: Stream) -> None:
    logging.getLogger("library").warning("took %d s", 3)
    logging.getLogger("library").debug("not heard")
    (line,) = stream.lines()
    assert (line["event"], line["logger"], line["level"], line["service"]) == (
        "took 3 s",
        "library",
        "warning",
        "tester",
    )


def test_exception_is_logged_on_one_line(stream: Stream) -> None:
    try:
        raise ValueError("line\nbreak")
    except ValueError:
        structlog.get_logger().exception("crashed")
    assert len(stream.getvalue().splitlines()) == 1
    assert "ValueError" in stream.lines()[0]["exception"]


def test_invalid_text_is_logged(stream: Stream) -> None:
    structlog.get_logger().info("happened", path="/\ud800\0\n", raw="ä€😀")
    assert len(stream.getvalue().splitlines()) == 1
    stream.getvalue().encode("ascii")
