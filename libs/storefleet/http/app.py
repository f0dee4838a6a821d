"""What every service's HTTP side shares: request ids, errors as problems, health, metrics, starting and stopping."""

import asyncio
import gc
import json
import logging
import math
import re
import resource
import secrets
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from storefleet.core.errors import (
    InvalidRequest,
    NotFound,
    RequestError,
    RequestTooLarge,
    StorefleetError,
    UnreadableRequest,
)
from storefleet.core.settings import Settings, SettingsError, read_settings
from storefleet.http import shutdown
from storefleet.observability import logs, metrics

log = logs.get_logger(__name__)

REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
_REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9._-]{8,64}")
_UNLOGGED_PATHS = ("/healthz", "/readyz", "/metrics")
HealthCheck = Callable[[], Awaitable[None] | None]
ErrorPageRenderer = Callable[[web.Request, RequestError], Awaitable[web.StreamResponse]]


class _UnparseableRequestFilter(logging.Filter):
    """What is no HTTP at all is answered with 400 by the server itself; it earns a line, but no traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
            record.msg, record.args = "request_unreadable", ()
            record.exc_info = record.exc_text = None
        return True


logging.getLogger("aiohttp.server").addFilter(_UnparseableRequestFilter())


def make_app(
    settings: Settings,
    *,
    service: str,
    required_checks: Mapping[str, HealthCheck],
    reported_checks: Mapping[str, HealthCheck] | None = None,
    render_error_page: ErrorPageRenderer | None = None,
) -> web.Application:
    """An application with health, metrics and middlewares; `needs` decide `/readyz`, `reports` are only shown there."""
    app = web.Application(
        middlewares=[_make_request_middleware(service, render_error_page)],
        client_max_size=settings.body_limit,
        handler_args={"max_line_size": 8190, "max_field_size": 8190},
    )
    shutdown.attach_drain(app, settings.drain)
    app.router.add_get("/healthz", _handle_healthz)
    app.router.add_get("/readyz", _make_readyz_handler(required_checks, reported_checks or {}))
    app.router.add_get("/metrics", _handle_metrics)
    return app


def _make_request_middleware(service: str, render_error_page: ErrorPageRenderer | None) -> Any:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        structlog.contextvars.clear_contextvars()
        given = request.headers.get("X-Request-Id", "")
        request_id = (
            given if _REQUEST_ID_PATTERN.fullmatch(given) else f"req_{secrets.token_hex(10)}"
        )
        request[REQUEST_ID] = request_id
        logs.bind_log_context(service=service, request_id=request_id)
        started = time.perf_counter()
        response = await _handle_request(request, handler, render_error_page)
        elapsed = time.perf_counter() - started
        _record_request(service, request, response, elapsed)
        return response

    return middleware


async def _handle_request(
    request: web.Request, handler: Handler, render_error_page: ErrorPageRenderer | None
) -> web.StreamResponse:
    try:
        return await handler(request)
    except RequestError as error:
        problem = error
    except web.HTTPException as error:
        if error.status < 400:
            return make_redirect(error.headers["Location"], status=error.status)
        problem = _convert_http_exception(error)
    except (UnicodeError, web.RequestPayloadError) as error:
        problem = UnreadableRequest(f"The request is not readable: {type(error).__name__}.")
    except ConnectionError:
        return web.Response(status=400)  # the caller has gone, so nobody reads this
    except Exception:
        log.exception("request_crashed", path=request.path)
        problem = RequestError("An unexpected error; it is in the log under this request id.")
    if problem.status >= 500:
        log.warning(
            "request_failed", path=request.path, code=problem.code, cause=repr(problem.__cause__)
        )
    if render_error_page is not None:
        return await render_error_page(request, problem)
    return make_problem_response(request, problem)


def make_redirect(target: str, *, status: int = 303) -> web.Response:
    """An answer that sends the caller elsewhere; aiohttp's exceptions for that may be raised, but not returned."""
    return web.Response(status=status, headers={"Location": target})


def _convert_http_exception(error: web.HTTPException) -> RequestError:
    if error.status == 413:
        return RequestTooLarge("The body is larger than 64 KiB.")
    if error.status == 404:
        return NotFound("There is nothing at this address.")
    problem = RequestError(error.reason, code=re.sub(r"\W+", "_", error.reason.lower()))
    problem.status = error.status  # type: ignore[misc]  # 405 and the like have no class of their own
    problem.title = error.reason  # type: ignore[misc]
    if isinstance(error, web.HTTPMethodNotAllowed):
        problem.allow = error.headers.get("Allow", "")  # type: ignore[attr-defined]
    return problem


def make_problem_response(request: web.Request, problem: RequestError) -> web.Response:
    """RFC 9457."""
    body = {
        "type": f"urn:storefleet:problem:{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
        "errors": [{"pointer": pointer, "detail": detail} for pointer, detail in problem.errors],
        "request_id": request[REQUEST_ID],
        "retryable": problem.retryable,
    }
    return web.json_response(
        body,
        status=problem.status,
        headers=make_problem_headers(problem),
        content_type="application/problem+json",
    )


def make_problem_headers(problem: RequestError) -> dict[str, str]:
    headers = {"Cache-Control": "no-store"}
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if problem.retry_after is not None or problem.status == 503:
        headers["Retry-After"] = str(max(1, round(problem.retry_after or 2)))
    if allow := getattr(problem, "allow", ""):
        headers["Allow"] = allow
    return headers


def _record_request(
    service: str, request: web.Request, response: web.StreamResponse, elapsed_s: float
) -> None:
    route = request.match_info.route.resource
    label = route.canonical if route is not None else "(none)"
    metrics.HTTP_REQUESTS.labels(service, request.method[:10], label, response.status).inc()
    metrics.HTTP_REQUEST_DURATION.labels(service).observe(elapsed_s)
    if not response.prepared:
        response.headers["X-Request-Id"] = request[REQUEST_ID]
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Referrer-Policy", "same-origin")
    if request.path not in _UNLOGGED_PATHS:
        log.info(
            "request",
            method=request.method,
            path=request.path,
            status=response.status,
            ms=round(elapsed_s * 1000, 1),
        )


async def read_json(request: web.Request) -> dict[str, Any]:
    """The body as an object of clean text; raises Unreadable, TooLarge, Invalid."""
    raw = await request.read()
    try:
        body = json.loads(raw, parse_constant=_reject_constant)
    except (ValueError, RecursionError) as error:
        raise UnreadableRequest(f"The body is not JSON: {str(error)[:200]}") from None
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.", errors=[("", "must be an object")])
    _check_text(body, "", 0)
    return body


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check_text(value: object, pointer: str, depth: int) -> None:
    """Refuse what PostgreSQL cannot keep: NUL, lone surrogates, infinite numbers, and nesting without end."""
    if depth > 20:
        raise InvalidRequest(
            "The body is nested too deeply.", errors=[(pointer[:200], "more than 20 levels")]
        )
    if isinstance(value, str):
        if not is_storable_text(value):
            raise InvalidRequest(
                "The body holds characters that are not text.",
                errors=[(pointer[:200], "is not clean text")],
            )
    elif isinstance(value, float):
        if not math.isfinite(value):  # 1e999 is JSON, and infinity to Python
            raise InvalidRequest(
                "The body holds a number that is too large.",
                errors=[(pointer[:200], "is too large")],
            )
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(key, pointer, depth)
            _check_text(item, f"{pointer}/{key}", depth + 1)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _check_text(item, f"{pointer}/{number}", depth + 1)


def is_storable_text(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


async def _handle_healthz(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


def _make_readyz_handler(
    required_checks: Mapping[str, HealthCheck], reported_checks: Mapping[str, HealthCheck]
) -> Handler:
    async def handle_readyz(request: web.Request) -> web.Response:
        if shutdown.is_draining(request.app):
            return web.json_response({"status": "draining", "parts": {}}, status=503)
        state = {
            name: await _run_check(check)
            for name, check in {**required_checks, **reported_checks}.items()
        }
        ready = all(state[name] == "ok" for name in required_checks)
        degraded = any(value != "ok" for value in state.values())
        status = "unavailable" if not ready else "degraded" if degraded else "ok"
        return web.json_response({"status": status, "parts": state}, status=200 if ready else 503)

    return handle_readyz


async def _run_check(check: HealthCheck) -> str:
    try:
        result = check()
        if result is not None:
            await asyncio.wait_for(result, timeout=5)
    except (StorefleetError, TimeoutError) as error:
        return getattr(error, "code", "timeout")
    return "ok"


async def _handle_metrics(_request: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


@asynccontextmanager
async def run_in_background(coroutine: Awaitable[None], *, name: str) -> AsyncIterator[None]:
    """Run a task beside the application; when it dies, the service ends, and its supervisor starts it anew."""
    task = asyncio.ensure_future(coroutine)

    def end_service(done: asyncio.Future[None]) -> None:
        if not done.cancelled() and (error := done.exception()):
            log.critical("task_died", task=name, exc_info=error)
            signal.raise_signal(signal.SIGTERM)

    task.add_done_callback(end_service)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task


def make_cleanup_context(
    context: Callable[[web.Application], AbstractAsyncContextManager[Any]],
) -> Callable[[web.Application], AsyncIterator[None]]:
    """A context manager as an aiohttp clean-up context."""

    async def cleanup_context(app: web.Application) -> AsyncIterator[None]:
        async with context(app):
            yield

    return cleanup_context


def run_service(
    create_app: Callable[[Settings], web.Application],
    *,
    service: str,
    get_port: Callable[[Settings], int],
) -> None:
    """Start the service and serve until SIGTERM or SIGINT."""
    import uvloop

    try:
        settings = read_settings()
    except SettingsError as error:
        raise SystemExit(str(error)) from None
    logs.configure_logging(service, settings.log_level)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    app = create_app(settings)
    # What start-up made lives as long as the process: looking through it again and again took a fifth of the time.
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    web.run_app(
        app,
        host=settings.host,
        port=get_port(settings),
        access_log=None,
        print=None,
        shutdown_timeout=2,
        handler_cancellation=False,
        loop=uvloop.new_event_loop(),
    )
