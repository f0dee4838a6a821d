"""How a service leaves while others go on: first not ready, then gone."""

import asyncio
import signal

from aiohttp import web

from storefleet.observability import logs

log = logs.get_logger(__name__)


def attach_drain(app: web.Application, drain_s: float) -> None:
    """Let the application drain for so long before it ends; 0: it ends at once."""
    drain = app[_DRAIN] = Drain(drain_s)
    app.on_startup.append(drain.handle_sigterm)
    app.on_response_prepare.append(drain.close_connection)


def is_draining(app: web.Application) -> bool:
    return app[_DRAIN].has_begun


class Drain:
    """The time between SIGTERM and the end in which callers are sent elsewhere: not ready, still answering.

    Whoever balances the load learns only after a moment that this copy goes; until then its requests are served, and
    each answer closes its connection, so that the next one is opened to another copy.
    """

    def __init__(self, duration_s: float) -> None:
        self._duration_s = duration_s
        self.has_begun = False

    async def handle_sigterm(self, _app: web.Application) -> None:
        """Take SIGTERM over; SIGINT, and a second SIGTERM, still end at once."""
        if self._duration_s:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._begin)

    def _begin(self) -> None:
        if self.has_begun:
            raise web.GracefulExit
        self.has_begun = True
        log.info("draining", seconds=self._duration_s)
        asyncio.get_running_loop().call_later(self._duration_s, _exit_gracefully)

    async def close_connection(self, _request: web.Request, response: web.StreamResponse) -> None:
        if self.has_begun and response.status != 101:
            response.headers["Connection"] = "close"  # the header was decided on before this
            response.force_close()


def _exit_gracefully() -> None:
    raise web.GracefulExit


_DRAIN: web.AppKey[Drain] = web.AppKey("drain", Drain)
