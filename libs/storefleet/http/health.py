"""Liveness, readiness and metrics: `/healthz`, `/readyz` and `/metrics`.

A service is ready when all its required checks pass and it does not drain. Other checks are only
reported, because the service works without those dependencies.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from storefleet.core.errors import StorefleetError
from storefleet.http import shutdown

#: Raises an error of ours when a dependency is unavailable.
HealthCheck = Callable[[], Awaitable[None] | None]
#: Requests of probes and scrapers, which would fill the log.
HEALTH_PATHS = ("/healthz", "/readyz", "/metrics")

_CHECK_TIMEOUT_S = 5


def add_health_routes(
    app: web.Application,
    *,
    required_checks: Mapping[str, HealthCheck],
    reported_checks: Mapping[str, HealthCheck],
) -> None:
    """Add the routes of health and metrics to an application.

    Args:
        app: The application.
        required_checks: Checks by dependency that decide readiness.
        reported_checks: Checks by dependency that are only shown.
    """
    app.router.add_get("/healthz", _handle_healthz)
    app.router.add_get("/readyz", _make_readyz_handler(required_checks, reported_checks))
    app.router.add_get("/metrics", _handle_metrics)


async def _handle_healthz(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


def _make_readyz_handler(
    required_checks: Mapping[str, HealthCheck], reported_checks: Mapping[str, HealthCheck]
) -> Handler:
    async def handle_readyz(request: web.Request) -> web.Response:
        if shutdown.is_draining(request.app):
            return web.json_response({"status": "draining", "parts": {}}, status=503)
        checks = {**required_checks, **reported_checks}
        parts = {name: await _run_check(check) for name, check in checks.items()}
        is_ready = all(parts[name] == "ok" for name in required_checks)
        status = "unavailable"
        if is_ready:
            status = "ok" if all(part == "ok" for part in parts.values()) else "degraded"
        return web.json_response(
            {"status": status, "parts": parts}, status=200 if is_ready else 503
        )

    return handle_readyz


async def _run_check(check: HealthCheck) -> str:
    """Run a check; return `ok`, `timeout` or the code of the error."""
    try:
        result = check()
        if result is not None:
            await asyncio.wait_for(result, timeout=_CHECK_TIMEOUT_S)
    except (StorefleetError, TimeoutError) as error:
        return getattr(error, "code", "timeout")
    return "ok"


async def _handle_metrics(_request: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
