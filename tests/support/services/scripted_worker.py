"""A worker process whose steps create files in the folder that its environment names.

Run it by `python -m tests.support.services.scripted_worker`. Step `first` creates `first-<pid>`.
Step `second` creates `second-<pid>`, waits for the file `go` (or `go-<pid>`), checks that the
worker still owns the operation, and creates `effect-<pid>`.
"""

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from storefleet.core.models import Operation, Store
from storefleet.core.settings import read_settings
from storefleet.database.pool import Database
from storefleet.messaging import MessageBus
from storefleet.observability import logs
from storefleet.operations.worker import Worker
from storefleet.runtimes.protocol import RuntimeStep, StepContext, StepResult

FOLDER = "TESTS_FOLDER"
CARELESS = "TESTS_CARELESS"  # does not ask before its effect


def steps(store: Store, operation: Operation) -> Sequence[RuntimeStep]:
    del store, operation
    return (RuntimeStep("first", "First", first), RuntimeStep("second", "Second", second))


async def first(_work: StepContext) -> StepResult:
    _leave("first")
    return StepResult(f"by {os.getpid()}")


async def second(work: StepContext) -> StepResult:
    _leave("second")
    folder = Path(os.environ[FOLDER])
    while not (folder / "go").exists() and not (folder / f"go-{os.getpid()}").exists():
        await asyncio.sleep(0.02)
    if CARELESS not in os.environ:
        await work.check_ownership()
    _leave("effect")
    return StepResult(f"by {os.getpid()}")


def _leave(word: str) -> None:
    (Path(os.environ[FOLDER]) / f"{word}-{os.getpid()}").touch()


async def main() -> None:
    settings = read_settings()
    logs.configure_logging("scripted", "info")
    database = Database(settings.database_url.get_secret_value())
    bus = MessageBus(settings.nats_url.get_secret_value(), name="provisioner")
    worker = Worker(
        service="provisioner",
        step_plans={"create": steps},
        database=database,
        bus=bus,
        settings=settings,
    )
    async with database.open_pool(), bus.open_connection():
        task = asyncio.create_task(worker.run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        _leave("started")
        await asyncio.gather(task, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main())
