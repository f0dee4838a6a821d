"""Run one store's process: follow the desired state of its placement, and observe its port."""

import asyncio
import contextlib
from collections.abc import Callable

from storefleet.database.repositories.placements import Placement
from storefleet.node.processes.launcher import read_last_line
from storefleet.node.processes.supervisor import Supervisor
from storefleet.node.stores.store_child import StoreChildFactory

START_TIMEOUT_S = 20.0


class StoreProcess:
    """A task that follows the latest desired state of a store, one start or stop at a time.

    Args:
        row: The store's placement.
        supervisor: Runs the process.
        start_slots: Limits concurrent starts.
        child_factory: Describes the process.
        request_reconcile: Called when the observed state has changed.
    """

    def __init__(
        self,
        row: Placement,
        *,
        supervisor: Supervisor,
        start_slots: asyncio.Semaphore,
        child_factory: StoreChildFactory,
        request_reconcile: Callable[[], None],
    ) -> None:
        self._row = row
        self._should_run = False
        self._name = f"store-{row.store_id}"
        self._supervisor = supervisor
        self._start_slots = start_slots
        self._child_factory = child_factory
        self._request_reconcile = request_reconcile
        self._problem = ""
        self._answering_pid: int | None = None
        self._port_check: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self.task = asyncio.create_task(self._follow_desired_state(), name=self._name)

    def set_placement(self, row: Placement) -> None:
        """Follow a new version of the store's placement."""
        self._row = row
        self._set_desired(should_run=row.desired == "running")

    def request_stop(self) -> bool:
        """Stop the process because the placement has been deleted.

        Returns:
            Whether the process has ended; then this object must not be used any more.
        """
        self._set_desired(should_run=False)
        if self._supervisor.get_status(self._name) is not None:
            return False
        self.task.cancel()
        return True

    def handle_status_change(self) -> None:
        """Check the port of a process that has just started."""
        status = self._supervisor.get_status(self._name)
        if status is not None and status.state == "running" and status.pid is not None:
            if self._port_check is not None:
                self._port_check.cancel()
            self._port_check = asyncio.create_task(self._wait_for_port(status.pid))

    def get_observed_state(self) -> tuple[str, int | None, int, str]:
        """Return the observed state for the placement: state, process id, restarts and message."""
        status = self._supervisor.get_status(self._name)
        if status is None or status.state == "stopped":
            return ("starting" if self._should_run else "stopped"), None, 0, self._problem
        if status.state == "waiting":
            last = read_last_line(self._child_factory.get_log_file(self._row.store_id))
            message = f"{status.message}; last log line: {last}"[:400]
            return "crashing", None, status.restarts, message
        is_answering = status.pid is not None and status.pid == self._answering_pid
        return ("running" if is_answering else "starting"), status.pid, status.restarts, ""

    def _set_desired(self, *, should_run: bool) -> None:
        # A start that failed (the engine is still being prepared) is retried at every poll.
        if should_run != self._should_run or (should_run and self._problem):
            self._should_run = should_run
            self._problem = self._problem if should_run else ""
            self._wake.set()

    async def _follow_desired_state(self) -> None:
        while True:
            self._wake.clear()
            is_supervised = self._supervisor.get_status(self._name) is not None
            if self._should_run and not is_supervised:
                await self._start_process()
            elif not self._should_run and is_supervised:
                await self._supervisor.stop(self._name)
                self._answering_pid = None
                self._request_reconcile()
            else:
                await self._wake.wait()
                continue
            if self._problem:  # retried at the next poll, see _set_desired
                await self._wake.wait()

    async def _start_process(self) -> None:
        async with self._start_slots:
            if not self._should_run:
                return
            previous_problem = self._problem
            child, self._problem = self._child_factory.make_child(self._row)
            if child is None:
                # Reporting the same problem again would start the next reconciliation at once.
                if self._problem != previous_problem:
                    self._request_reconcile()
                return
            self._supervisor.start(child)
            await self._wait_until_settled()

    async def _wait_until_settled(self) -> None:
        """Hold the slot until the store answers, ends, is stopped, or the start takes too long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_TIMEOUT_S):
                while self._should_run and self._answering_pid is None:
                    status = self._supervisor.get_status(self._name)
                    if status is None or status.restarts:
                        return
                    await asyncio.sleep(0.05)

    async def _wait_for_port(self, pid: int) -> None:
        while True:
            status = self._supervisor.get_status(self._name)
            if status is None or status.pid != pid:
                return
            if await _is_port_open(self._row.port):
                self._answering_pid = pid
                self._request_reconcile()
                return
            await asyncio.sleep(0.03)


async def _is_port_open(port: int) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 2)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
