"""Wires the gateway: API, pages, and the relay of the outbox."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web

from services.gateway.api import Api
from services.gateway.pages import Pages
from storefleet import engines, runtimes
from storefleet.accounts import Accounts
from storefleet.admission import Admission
from storefleet.bus import Bus
from storefleet.callers import Callers
from storefleet.changes import Changes
from storefleet.database.pool import Database
from storefleet.outbox import Relay
from storefleet.settings import Settings
from storefleet.web import background, keep, make_app, run

SERVICE = "gateway"


def create_app(settings: Settings) -> web.Application:
    database = Database(
        settings.database_url.get_secret_value(),
        connections=settings.database_connections,
        timeout=settings.database_timeout,
    )
    bus = Bus(settings.nats_url.get_secret_value(), name=SERVICE)
    catalogue = engines.load(settings.engines_path, runtime=settings.runtime, catalogue=settings.catalogue)
    runtime = runtimes.make(settings, database=database, engines=catalogue)
    accounts = Accounts(database=database, settings=settings)
    callers = Callers(accounts=accounts, settings=settings)
    relay = Relay(database=database, bus=bus)
    admission = Admission(database=database, engines=catalogue, settings=settings, announce=relay.announce)
    changes = Changes(database=database, engines=catalogue, settings=settings, possible=runtime.changes_versions)
    api = Api(
        database=database,
        admission=admission,
        changes=changes,
        accounts=accounts,
        callers=callers,
        engines=catalogue,
        runtime=runtime,
        settings=settings,
    )
    pages = Pages(
        database=database,
        admission=admission,
        changes=changes,
        accounts=accounts,
        callers=callers,
        engines=catalogue,
        runtime=runtime,
        settings=settings,
    )

    @asynccontextmanager
    async def running(_app: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(database.opened())
            await stack.enter_async_context(bus.opened())
            await stack.enter_async_context(runtime.opened())
            await stack.enter_async_context(background(accounts.hear_revocations(), name="revocations"))
            await stack.enter_async_context(background(relay.run(), name="relay"))
            yield

    app = make_app(
        settings,
        service=SERVICE,
        needs={"database": database.check},
        reports={"bus": bus.check},
        error_page=pages.error,
    )
    app.add_routes(api.routes())
    pages.add_to(app)
    app.cleanup_ctx.append(keep(running))
    return app


def main() -> None:
    run(create_app, service=SERVICE, port=lambda settings: settings.gateway_port)
