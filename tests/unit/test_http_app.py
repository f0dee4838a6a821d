"""The HTTP application that every service shares."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web
from hypothesis import given, settings
from hypothesis import strategies as st

from storefleet.core.errors import (
    DatabaseUnavailable,
    Forbidden,
    InvalidRequest,
    LimitExceeded,
    MessagingUnavailable,
    NameTaken,
    NotFound,
    Unauthenticated,
)
from storefleet.core.settings import Settings
from storefleet.http.app import make_app, make_cleanup_context, run_in_background
from storefleet.http.validation import check_storable, is_storable_text, read_json
from tests.support.http.client import Api


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[Api]:
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        async with ClientSession() as session:
            yield Api(session, f"http://{host}:{port}", None)
    finally:
        await runner.cleanup()


def application(**more: object) -> web.Application:
    return make_app(Settings(), service="test", required_checks={}, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidRequest("x", errors=[("/a", "b")]), 422, "invalid"),
        (NotFound("x"), 404, "not_found"),
        (NameTaken("x"), 409, "name_taken"),
        (Forbidden("x", code="csrf"), 403, "csrf"),
        (Unauthenticated("x"), 401, "unauthenticated"),
        (LimitExceeded("x", retry_after=7.4), 429, "rate_limited"),
        (DatabaseUnavailable("x"), 503, "database_unavailable"),
        (web.HTTPRequestEntityTooLarge(max_size=1, actual_size=2), 413, "too_large"),
        (web.HTTPNotFound(), 404, "not_found"),
        (web.HTTPMethodNotAllowed("GET", ["POST"]), 405, "method_not_allowed"),
        (ZeroDivisionError("secret"), 500, "internal_error"),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "x"), 400, "unreadable"),
    ],
)
async def test_errors_become_problem_json(
    error: Exception, status: int, code: str, logged: Callable[[], str]
) -> None:
    async def fail(_request: web.Request) -> web.Response:
        raise error

    app = application()
    app.router.add_get("/fail", fail)
    async with serving(app) as api:
        answer = await api.call("GET", "/fail")
    assert answer.status == status
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.body
    assert (body["status"], body["code"], body["type"]) == (
        status,
        code,
        f"urn:storefleet:problem:{code}",
    )
    assert body["request_id"] == answer.headers["X-Request-Id"]
    assert "secret" not in answer.text
    assert ("Retry-After" in answer.headers) == (status in (429, 503))
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)
    if status == 429:
        assert answer.headers["Retry-After"] == "7"
    if status == 422:
        assert body["errors"] == [{"pointer": "/a", "detail": "b"}]
    assert ("ZeroDivisionError" in logged()) == (status == 500)


async def test_redirects_are_unchanged() -> None:
    async def away(_request: web.Request) -> web.Response:
        raise web.HTTPSeeOther("/elsewhere")

    app = application()
    app.router.add_get("/away", away)
    async with serving(app) as api:
        answer = await api.call("GET", "/away")
    assert (answer.status, answer.headers["Location"]) == (303, "/elsewhere")


async def test_readiness_depends_on_required_checks_only() -> None:
    away = {"database": False, "messaging": False}

    def check(name: str, error: type[Exception]) -> Callable[[], None]:
        def look() -> None:
            if away[name]:
                raise error("away")

        return look

    app = make_app(
        Settings(),
        service="test",
        required_checks={"database": check("database", DatabaseUnavailable)},
        reported_checks={"messaging": check("messaging", MessagingUnavailable)},
    )
    async with serving(app) as api:
        expected = [
            ((False, False), 200, "ok"),
            ((False, True), 200, "degraded"),
            ((True, False), 503, "unavailable"),
            ((True, True), 503, "unavailable"),
        ]
        for (database, messaging), status, word in expected:
            away.update(database=database, messaging=messaging)
            answer = await api.call("GET", "/readyz")
            assert (answer.status, answer.body["status"]) == (status, word)
            assert (await api.call("GET", "/healthz")).status == 200
        assert answer.body["parts"] == {
            "database": "database_unavailable",
            "messaging": "messaging_unavailable",
        }


@pytest.mark.parametrize(
    ("body", "status"),
    [
        *(
            (b"{}", 200),
            (b'{"a": "\\u00e4\\ud83d\\ude00"}', 200),
            (b"", 400),
            (b"{'a': 1}", 400),
            (b"\xff", 400),
        ),
        *(
            (b'{"a": NaN}', 400),
            (b'{"a": -Infinity}', 400),
            (b'{"a": 1e400}', 422),
            (b"[]", 422),
            (b"1", 422),
        ),
        *(
            (b'{"a": "\\u0000"}', 422),
            (b'{"\\ud800": 1}', 422),
            (b'{"a": ' + b"[" * 25 + b"]" * 25 + b"}", 422),
        ),
        *((b'{"a": ' + b"9" * 5000 + b"}", 400), (b"[" * 65_000, 400), (b"x" * 65_537, 413)),
    ],
)
async def test_body_requires_object_of_storable_text(body: bytes, status: int) -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.json_response(await read_json(request))

    app = application()
    app.router.add_post("/echo", echo)
    async with serving(app) as api:
        answer = await api.call("POST", "/echo", data=body)
    assert answer.status == status, answer.text


@settings(max_examples=200, deadline=None, database=None)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(st.characters(codec=None)),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    )
)
def test_accepted_values_are_storable(value: object) -> None:
    try:
        check_storable(value)
    except InvalidRequest:
        return
    text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    text.encode()
    assert "\\u0000" not in text


@pytest.mark.parametrize(
    ("text", "clean"), [("", True), ("ä€😀", True), ("a\0b", False), ("\ud800", False)]
)
def test_storable_text_is_recognized(text: str, clean: bool) -> None:
    assert is_storable_text(text) is clean


async def test_background_task_ends_with_application() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    @asynccontextmanager
    async def running(_app: web.Application) -> AsyncIterator[None]:
        async with run_in_background(work(), name="work"):
            yield

    app = application()
    app.cleanup_ctx.append(make_cleanup_context(running))
    async with serving(app) as api:
        assert (await api.call("GET", "/healthz")).status == 200
        assert not ended.is_set()
    assert ended.is_set()


async def test_failed_background_task_stops_service(
    monkeypatch: pytest.MonkeyPatch, logged: Callable[[], str]
) -> None:
    raised: list[int] = []
    monkeypatch.setattr("storefleet.http.app.signal.raise_signal", raised.append)

    async def work() -> None:
        raise RuntimeError("dead")

    async with run_in_background(work(), name="work"):
        await asyncio.sleep(0.01)
    assert len(raised) == 1
    assert "background_task_failed" in logged()


async def test_request_is_logged_with_id(log_lines: object, logged: Callable[[], str]) -> None:
    async with serving(application()) as api:
        await api.call("GET", "/nowhere", headers={"X-Request-Id": "my-request-1"})
        await api.call("GET", "/healthz")
    lines = [
        json.loads(line) for line in logged().splitlines() if '"event": "request_handled"' in line
    ]
    assert [(line["path"], line["status"], line["request_id"]) for line in lines] == [
        ("/nowhere", 404, "my-request-1")
    ]
