"""Wire the reaper: a worker for deletions, redispatch, retention, cron calls, storefront checks."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web

from services.reaper.cron import CronCaller
from services.reaper.due_operations import DueOperations
from services.reaper.retention import Retention
from services.reaper.storefronts import StorefrontChecker
from storefleet import runtimes
from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.engines import catalogue
from storefleet.http.app import make_app, make_cleanup_context, run_in_background, run_service
from storefleet.messaging import MessageBus
from storefleet.operations import step_plans
from storefleet.operations.worker import Worker
from storefleet.runtimes.storefront_check import StorefrontCheck

SERVICE = "reaper"


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
        step_plans=step_plans.make_deletion_plans(runtime),
        database=database,
        bus=bus,
        settings=settings,
    )
    due_operations = DueOperations(database=database, settings=settings)
    retention = Retention(database=database, settings=settings)
    cron_caller = CronCaller(database=database, engines=engines.list_known(), settings=settings)
    storefront_checker = StorefrontChecker(
        database=database,
        engines=engines.list_known(),
        check=StorefrontCheck(scheme=settings.store_scheme),
        settings=settings,
    )

    @asynccontextmanager
    async def open_resources(_app: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(database.open_pool())
            await stack.enter_async_context(bus.open_connection())
            await stack.enter_async_context(runtime.open_resources())
            for name, task in (
                ("due_operations", due_operations.run()),
                ("retention", retention.run()),
                ("cron_calls", cron_caller.run()),
                ("storefront_checks", storefront_checker.run()),
                ("worker", worker.run()),
            ):
                await stack.enter_async_context(run_in_background(task, name=name))
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
    run_service(create_app, service=SERVICE, get_port=lambda settings: settings.reaper_port)
