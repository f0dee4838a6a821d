"""Wire the provisioner: database, bus, runtime, and a worker for creations and version changes."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web

from storefleet import runtimes
from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.engines import catalogue
from storefleet.http.app import make_app, make_cleanup_context, run_in_background, run_service
from storefleet.messaging import MessageBus
from storefleet.operations import step_plans
from storefleet.operations.worker import Worker

SERVICE = "provisioner"


def create_app(settings: Settings) -> web.Application:
    """Create the application without I/O; its resources open at start-up."""
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
    worker = Worker(
        service=SERVICE,
        step_plans=step_plans.make_provisioning_plans(runtime),
        database=database,
        bus=bus,
        settings=settings,
    )

    @asynccontextmanager
    async def open_resources(_app: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(database.open_pool())
            await stack.enter_async_context(bus.open_connection())
            await stack.enter_async_context(runtime.open_resources())
            await stack.enter_async_context(run_in_background(worker.run(), name="worker"))
            yield

    app = make_app(
        settings,
        service=SERVICE,
        required_checks={
            "database": database.check_connection,
            "messaging": bus.check_connection,
            "runtime": runtime.check_available,
        },
    )
    app.cleanup_ctx.append(make_cleanup_context(open_resources))
    return app


def main() -> None:
    """Serve until SIGTERM."""
    run_service(create_app, service=SERVICE, get_port=lambda settings: settings.provisioner_port)
