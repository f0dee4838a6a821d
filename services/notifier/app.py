"""Wires the notifier: the live feed and the sockets that listen to it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web

from services.notifier.feed import Hub
from services.notifier.websockets import Sockets
from storefleet.auth.accounts import Accounts
from storefleet.auth.authentication import Callers
from storefleet.core.messages import LIVE_SUBJECT
from storefleet.core.settings import Settings
from storefleet.database.access import SESSIONS_CHANNEL
from storefleet.database.pool import Database
from storefleet.http.app import background, keep, make_app, run
from storefleet.messaging import Bus

SERVICE = "notifier"


def create_app(settings: Settings) -> web.Application:
    database = Database(
        settings.database_url.get_secret_value(),
        connections=settings.database_connections,
        timeout=settings.database_timeout,
    )
    bus = Bus(settings.nats_url.get_secret_value(), name=SERVICE)
    hub = Hub(database)
    accounts = Accounts(database=database, settings=settings)
    callers = Callers(accounts=accounts, settings=settings)
    sockets = Sockets(
        hub=hub, database=database, accounts=accounts, callers=callers, settings=settings
    )

    @asynccontextmanager
    async def running(_app: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(database.opened())
            await bus.follow(f"{LIVE_SUBJECT}.>", hub.heard)
            await stack.enter_async_context(bus.opened())
            await stack.enter_async_context(background(hub.run(), name="hub"))
            listening = database.listen(SESSIONS_CHANNEL, sockets.ended)
            await stack.enter_async_context(background(listening, name="sessions"))
            await stack.enter_async_context(background(sockets.watch_expiry(), name="expiry"))
            yield

    async def close_sockets(_app: web.Application) -> None:
        await sockets.close_all()

    app = make_app(settings, service=SERVICE, needs={"database": database.check, "bus": bus.check})
    app.router.add_get("/api/v1/events", sockets.handle)
    app.cleanup_ctx.append(keep(running))
    app.on_shutdown.append(close_sockets)
    return app


def main() -> None:
    run(create_app, service=SERVICE, port=lambda settings: settings.notifier_port)
