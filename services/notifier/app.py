"""Wire the notifier: the event feed and the websockets that deliver its events."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web

from services.notifier.feed import EventFeed
from services.notifier.websockets import WebsocketServer
from storefleet.auth.authentication import Authenticator
from storefleet.auth.sessions import Sessions
from storefleet.auth.tokens import Tokens
from storefleet.core.messages import LIVE_EVENT_SUBJECT_PREFIX
from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.database.repositories.sessions import SIGN_OUT_CHANNEL
from storefleet.http.app import make_app, make_cleanup_context, run_in_background, run_service
from storefleet.messaging import MessageBus

SERVICE = "notifier"


def create_app(settings: Settings) -> web.Application:
    """Create the application without I/O; its resources open at start-up."""
    database = Database(
        settings.database_url.get_secret_value(),
        max_connections=settings.database_connections,
        timeout_s=settings.database_timeout,
    )
    bus = MessageBus(settings.nats_url.get_secret_value(), name=SERVICE)
    feed = EventFeed(database)
    sessions = Sessions(database=database, settings=settings)
    tokens = Tokens(database=database)
    authenticator = Authenticator(sessions=sessions, tokens=tokens, settings=settings)
    websockets = WebsocketServer(
        feed=feed,
        database=database,
        sessions=sessions,
        tokens=tokens,
        authenticator=authenticator,
        settings=settings,
    )

    @asynccontextmanager
    async def open_resources(_app: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(database.open_pool())
            await bus.subscribe(f"{LIVE_EVENT_SUBJECT_PREFIX}.>", feed.receive_message)
            await stack.enter_async_context(bus.open_connection())
            await stack.enter_async_context(run_in_background(feed.run(), name="event_feed"))
            listening = database.listen(SIGN_OUT_CHANNEL, websockets.close_by_credential)
            await stack.enter_async_context(run_in_background(listening, name="sessions"))
            await stack.enter_async_context(
                run_in_background(websockets.close_expired(), name="expiry")
            )
            yield

    async def close_websockets(_app: web.Application) -> None:
        await websockets.close_all()

    app = make_app(
        settings,
        service=SERVICE,
        required_checks={"database": database.check_connection, "messaging": bus.check_connection},
    )
    app.router.add_get("/api/v1/events", websockets.handle)
    app.cleanup_ctx.append(make_cleanup_context(open_resources))
    app.on_shutdown.append(close_websockets)
    return app


def main() -> None:
    """Serve until SIGTERM."""
    run_service(create_app, service=SERVICE, get_port=lambda settings: settings.notifier_port)
