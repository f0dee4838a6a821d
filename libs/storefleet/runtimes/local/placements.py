"""Placements: request a store's process and wait for what the local node observes.

The runtime writes the desired state, the node the observed one; both are in the table `placements`.
"""

import asyncio
import socket
import time
from collections.abc import Sequence

from storefleet.core.errors import PermanentError, TransientError, Wait
from storefleet.core.models import Store
from storefleet.database.pool import Database
from storefleet.database.repositories.placements import Placement
from storefleet.observability.failpoints import effect
from storefleet.runtimes.local.store_files import StoreFiles
from storefleet.runtimes.protocol import StepContext

_MAX_PORT_CANDIDATES = 64
_MAX_CRASHES = 3
#: Stores crash while their database server restarts, which takes some seconds. Until this time has
#: passed, crashes do not fail the step.
_CRASH_GRACE_PERIOD_S = 10.0
_POLL_INTERVAL_S = (0.05, 0.25)
_LOG_LINES_IN_FAILURE = 3
_MAX_FAILURE_LENGTH = 600


class PlacementControl:
    """The desired and observed processes of stores."""

    def __init__(self, *, database: Database, files: StoreFiles) -> None:
        self._database = database
        self._files = files

    async def find(self, store_id: str) -> Placement | None:
        """Find a store's placement."""
        async with self._database.autocommit() as db:
            return await db.placements.find(store_id)

    async def reserve_port(self, context: StepContext, ports: Sequence[int]) -> Placement:
        """Add the store's placement, with the first free port.

        Args:
            context: The step of the creation.
            ports: The configured range; ports on which another program listens are skipped.

        Returns:
            The placement; an existing one is kept.

        Raises:
            TransientError: `no_free_port`.
        """
        store = context.store
        async with self._database.autocommit() as db:
            taken = {placement.port for placement in await db.placements.list_all()}
        candidates = [port for port in ports if port not in taken]
        free = await asyncio.to_thread(_find_bindable_ports, candidates)
        await context.check_ownership()
        with effect("add_placement"):
            async with self._database.transaction() as tx:
                placement = await tx.placements.add(
                    store_id=store.id,
                    operation_id=context.operation_id,
                    engine=store.engine,
                    engine_version=store.engine_version,
                    ports=free,
                )
        if placement is None:
            raise TransientError(
                "no_free_port",
                f"No port between {ports[0]} and {ports[-1]} is free.",
                next_step="Delete a store, or widen STOREFLEET_STORE_PORT_FIRST …"
                " STOREFLEET_STORE_PORT_LAST.",
            )
        return placement

    async def request_state(self, store_id: str, desired: str) -> bool:
        """Set the desired state, `running` or `stopped`; return whether there is a placement."""
        with effect(f"request_{desired}"):
            async with self._database.transaction() as tx:
                return await tx.placements.set_desired_state(store_id, desired)

    async def wait_until_observed(
        self, store: Store, observed: str, *, timeout_s: float
    ) -> Placement | None:
        """Wait until the node observes a state.

        Args:
            store: The store.
            observed: The expected state, `running` or `stopped`.
            timeout_s: Seconds after which `Wait` is raised.

        Returns:
            The placement; None if there is none (any more).

        Raises:
            PermanentError: `store_crashes`: the process ended repeatedly during its start.
            Wait: The node has not reached the state in time.
        """
        deadline = time.monotonic() + timeout_s
        crash_deadline = time.monotonic() + _CRASH_GRACE_PERIOD_S
        interval_s, max_interval_s = _POLL_INTERVAL_S
        while True:
            placement = await self.find(store.id)
            if placement is None or placement.observed == observed:
                return placement
            is_crashing = placement.observed == "crashing" and placement.restarts >= _MAX_CRASHES
            if observed == "running" and is_crashing and time.monotonic() > crash_deadline:
                raise await self._make_crash_error(store, placement)
            if time.monotonic() > deadline:
                status = placement.message or "no status message"
                raise Wait(f"The store is not {observed} yet. The local node reports: {status}")
            await asyncio.sleep(interval_s)
            interval_s = min(max_interval_s, interval_s * 1.2)

    async def delete(self, store_id: str) -> None:
        """Delete a store's placement, which frees its port."""
        with effect("delete_placement"):
            async with self._database.transaction() as tx:
                await tx.placements.delete(store_id)

    async def _make_crash_error(self, store: Store, placement: Placement) -> PermanentError:
        lines = await asyncio.to_thread(self._files.read_log_tail, store.id, _LOG_LINES_IN_FAILURE)
        tail = " | ".join(lines)[-_MAX_FAILURE_LENGTH:] or placement.message
        return PermanentError(
            "store_crashes",
            f"The store's process ended {placement.restarts} times during its start. Log: {tail}",
            next_step="Read the store's log, correct the cause, then retry; or delete the store.",
        )


def is_listening(port: int) -> bool:
    """Return whether a program listens on a loopback port.

    An outgoing connection may use the port, too; that is no listener.
    """
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _find_bindable_ports(candidates: Sequence[int]) -> list[int]:
    return [port for port in candidates if _is_bindable(port)][:_MAX_PORT_CANDIDATES]


def _is_bindable(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
