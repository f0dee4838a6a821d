"""Drain a service before it ends: not ready, still serving, then gone."""

import asyncio
import signal

from aiohttp import web

from storefleet.observability import logs

log = logs.get_logger(__name__)


class Drain:
    """The time between SIGTERM and the end of the service.

    A load balancer notices only after a moment that this replica is not ready. Until then requests
    are served, and each response closes its connection, so that the next connection goes to
    another replica.
    """

    def __init__(self, duration_s: float) -> None:
        """Create the drain.

        Args:
            duration_s: How long it lasts, in seconds; 0 ends the service at once.
        """
        self._duration_s = duration_s
        self.has_begun = False

    async def handle_sigterm(self, _app: web.Application) -> None:
        """Drain on SIGTERM. SIGINT, and a second SIGTERM, still end the service at once."""
        if self._duration_s:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._begin)

    async def close_connection(self, _request: web.Request, response: web.StreamResponse) -> None:
        """Close the connection after a response, once the drain has begun."""
        if self.has_begun and response.status != 101:
            # aiohttp has chosen the header before this signal, so both are needed.
            response.headers["Connection"] = "close"
            response.force_close()

    def _begin(self) -> None:
        if self.has_begun:
            raise web.GracefulExit
        self.has_begun = True
        log.info("drain_started", seconds=self._duration_s)
        asyncio.get_running_loop().call_later(self._duration_s, _exit_gracefully)


_DRAIN: web.AppKey[Drain] = web.AppKey("drain", Drain)


def attach_drain(app: web.Application, duration_s: float) -> None:
    """Let an application drain before it ends.

    Args:
        app: The application.
        duration_s: How long it drains, in seconds; 0 ends it at once.
    """
    drain = app[_DRAIN] = Drain(duration_s)
    app.on_startup.append(drain.handle_sigterm)
    app.on_response_prepare.append(drain.close_connection)


def is_draining(app: web.Application) -> bool:
    """Return whether the application has received SIGTERM and drains."""
    return app[_DRAIN].has_begun


def _exit_gracefully() -> None:
    raise web.GracefulExit
