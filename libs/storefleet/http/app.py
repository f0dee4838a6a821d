"""Create and serve an application: request ids, errors, logging, background tasks, start and stop.

Every service wires its own routes and resources into the application that `make_app` returns.
"""

import asyncio
import gc
import logging
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

from storefleet.core.errors import RequestError, UnreadableRequest
from storefleet.core.settings import Settings, SettingsError, read_settings
from storefleet.http import shutdown
from storefleet.http.health import HEALTH_PATHS, HealthCheck, add_health_routes
from storefleet.http.problems import (
    REQUEST_ID,
    convert_http_exception,
    make_problem_response,
    make_redirect,
)
from storefleet.observability import logs, metrics

log = logs.get_logger(__name__)

ErrorPageRenderer = Callable[[web.Request, RequestError], Awaitable[web.StreamResponse]]

_REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9._-]{8,64}")
_MAX_HEADER_BYTES = 8190
_CLOSE_TIMEOUT_S = 2  # for connections that are still open when the service ends
_GC_THRESHOLDS = (20_000, 20, 20)


class _UnparseableRequestFilter(logging.Filter):
    """Logs bytes that are not HTTP, which aiohttp answers with 400, without a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
            record.msg, record.args = "request_rejected", ()
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
    """Create an application with health, metrics, error handling and draining, without I/O.

    Args:
        settings: Size limits and drain duration.
        service: The service's name in logs and metrics.
        required_checks: Checks by dependency that decide `/readyz`.
        reported_checks: Checks by dependency that `/readyz` only shows.
        render_error_page: Renders errors as pages; without it they are problem details.

    Returns:
        The application.
    """
    app = web.Application(
        middlewares=[_make_request_middleware(service, render_error_page)],
        client_max_size=settings.body_limit,
        handler_args={
            "max_line_size": _MAX_HEADER_BYTES,
            "max_field_size": _MAX_HEADER_BYTES,
        },
    )
    shutdown.attach_drain(app, settings.drain)
    add_health_routes(app, required_checks=required_checks, reported_checks=reported_checks or {})
    return app


def _make_request_middleware(service: str, render_error_page: ErrorPageRenderer | None) -> Any:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        structlog.contextvars.clear_contextvars()
        request_id = request.headers.get("X-Request-Id", "")
        if not _REQUEST_ID_PATTERN.fullmatch(request_id):
            request_id = f"req_{secrets.token_hex(10)}"
        request[REQUEST_ID] = request_id
        logs.bind_log_context(service=service, request_id=request_id)
        started = time.perf_counter()
        response = await _handle_request(request, handler, render_error_page)
        _record_request(service, request, response, time.perf_counter() - started)
        return response

    return middleware


async def _handle_request(
    request: web.Request, handler: Handler, render_error_page: ErrorPageRenderer | None
) -> web.StreamResponse:
    """Call the handler; convert every error into a response."""
    try:
        return await handler(request)
    except RequestError as error:
        problem = error
    except web.HTTPException as error:
        if error.status < 400:
            return make_redirect(error.headers["Location"], status=error.status)
        problem = convert_http_exception(error)
    except (UnicodeError, web.RequestPayloadError) as error:
        problem = UnreadableRequest(f"The request cannot be read: {type(error).__name__}.")
    except ConnectionError:
        return web.Response(status=400)  # the client has disconnected, so nobody reads this
    except Exception:
        log.exception("request_crashed", path=request.path)
        problem = RequestError("An unexpected error occurred. Search the logs for the request id.")
    if problem.status >= 500:
        log.warning(
            "request_failed", path=request.path, code=problem.code, cause=repr(problem.__cause__)
        )
    if render_error_page is not None:
        return await render_error_page(request, problem)
    return make_problem_response(request, problem)


def _record_request(
    service: str, request: web.Request, response: web.StreamResponse, elapsed_s: float
) -> None:
    """Count and log a request, and add the headers of every response."""
    route = request.match_info.route.resource
    label = route.canonical if route is not None else "(none)"
    metrics.HTTP_REQUESTS.labels(service, request.method[:10], label, response.status).inc()
    metrics.HTTP_REQUEST_DURATION.labels(service).observe(elapsed_s)
    if not response.prepared:
        response.headers["X-Request-Id"] = request[REQUEST_ID]
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Referrer-Policy", "same-origin")
    if request.path not in HEALTH_PATHS:
        log.info(
            "request_handled",
            method=request.method,
            path=request.path,
            status=response.status,
            ms=round(elapsed_s * 1000, 1),
        )


@asynccontextmanager
async def run_in_background(work: Awaitable[None], *, name: str) -> AsyncIterator[None]:
    """Run a task while the context is open; end the service when the task fails.

    The service's supervisor restarts it.

    Args:
        work: What runs until it is cancelled.
        name: The task's name in the log.
    """
    task = asyncio.ensure_future(work)

    def end_service(done: asyncio.Future[None]) -> None:
        if not done.cancelled() and (error := done.exception()):
            log.critical("background_task_failed", task=name, exc_info=error)
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
    """Make an aiohttp clean-up context of a context manager.

    Args:
        context: Opens the resources of an application.

    Returns:
        An entry for `app.cleanup_ctx`.
    """

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
    """Read the settings, start the service, and serve until SIGTERM or SIGINT.

    Args:
        create_app: Creates the service's application, without I/O.
        service: The service's name.
        get_port: Picks its port from the settings.

    Raises:
        SystemExit: A setting breaks its rule.
    """
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
    # Objects of the start-up live as long as the process. Scanning them in every collection took
    # a fifth of the CPU time.
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    web.run_app(
        app,
        host=settings.host,
        port=get_port(settings),
        access_log=None,
        print=None,
        shutdown_timeout=_CLOSE_TIMEOUT_S,
        handler_cancellation=False,
        loop=uvloop.new_event_loop(),
    )
