"""Wire the gateway: HTTP API, dashboard and outbox relay."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from aiohttp import web

from services.gateway.api.routes import Api
from services.gateway.dashboard.pages import Pages
from services.gateway.mail_client import MailClient
from services.gateway.mail_reading import MailReader
from services.gateway.relay import Relay
from services.gateway.store_lookup import StoreLookup
from storefleet import runtimes
from storefleet.admission.stores import StoreAdmission
from storefleet.admission.versions import VersionAdmission
from storefleet.auth.authentication import Authenticator
from storefleet.auth.sessions import Sessions
from storefleet.auth.tokens import Tokens
from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.engines import catalogue
from storefleet.http.app import make_app, make_cleanup_context, run_in_background, run_service
from storefleet.messaging import MessageBus

SERVICE = "gateway"


def create_app(settings: Settings) -> web.Application:
    """Create the application without any I/O; connections open when it starts."""
    database = Database(
        settings.database_url.get_secret_value(),
        max_connections=settings.database_connections,
        timeout_s=settings.database_timeout,
    )
    bus = MessageBus(settings.nats_url.get_secret_value(), name=SERVICE)
    engines = catalogue.load_engines(
        settings.engines_path, runtime=settings.runtime, catalogue_file=settings.catalogue
    )
    runtime = runtimes.create_runtime(settings, database=database, engines=engines)
    sessions = Sessions(database=database, settings=settings)
    tokens = Tokens(database=database)
    authenticator = Authenticator(sessions=sessions, tokens=tokens, settings=settings)
    lookup = StoreLookup(database=database, retention=timedelta(days=settings.keep_days))
    mail_client = MailClient(runtime=runtime)
    mails = MailReader(database=database, client=mail_client)
    relay = Relay(database=database, bus=bus)
    admission = StoreAdmission(
        database=database,
        engines=engines,
        settings=settings,
        dispatch_command=relay.dispatch_command,
    )
    version_admission = VersionAdmission(
        database=database,
        engines=engines,
        settings=settings,
        can_change_versions=runtime.supports_version_changes,
    )
    api = Api(
        database=database,
        admission=admission,
        version_admission=version_admission,
        tokens=tokens,
        authenticator=authenticator,
        engines=engines,
        runtime=runtime,
        settings=settings,
        lookup=lookup,
        mails=mails,
    )
    pages = Pages(
        database=database,
        admission=admission,
        version_admission=version_admission,
        sessions=sessions,
        authenticator=authenticator,
        engines=engines,
        runtime=runtime,
        settings=settings,
        lookup=lookup,
        mails=mails,
    )

    @asynccontextmanager
    async def open_dependencies(_app: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(database.open_pool())
            await stack.enter_async_context(bus.open_connection())
            await stack.enter_async_context(runtime.open_resources())
            await stack.enter_async_context(mail_client.open_resources())
            await stack.enter_async_context(
                run_in_background(tokens.watch_revocations(), name="revocations")
            )
            await stack.enter_async_context(run_in_background(relay.run(), name="relay"))
            yield

    app = make_app(
        settings,
        service=SERVICE,
        required_checks={"database": database.check_connection},
        reported_checks={"messaging": bus.check_connection},
        render_error_page=pages.render_error_page,
    )
    app.add_routes(list(api.routes()))
    pages.register(app)
    app.cleanup_ctx.append(make_cleanup_context(open_dependencies))
    return app


def main() -> None:
    """Run the gateway until SIGTERM."""
    run_service(create_app, service=SERVICE, get_port=lambda settings: settings.gateway_port)
