"""Keep the lease of a running operation, and stop its steps when the lease is lost.

Each run of an operation has one keeper. It renews the lease periodically, and it retries writes
while PostgreSQL is unavailable, but only until another worker may have claimed the operation.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import TypeVar

from storefleet.core.errors import CancelRequested, DatabaseUnavailable, LeaseLost
from storefleet.core.models import Operation
from storefleet.operations.recorder import OperationRecorder

_WRITE_RETRY_PAUSE_S = 0.3
_Written = TypeVar("_Written")


class LeaseKeeper:
    """Renews the lease of one claim, and limits how long its owner may write."""

    def __init__(
        self, *, operation: Operation, recorder: OperationRecorder, lease_duration_s: float
    ) -> None:
        """Create the keeper of a lease that was just claimed.

        Args:
            operation: The operation under the worker's fence.
            recorder: Writes the renewals.
            lease_duration_s: How long a lease lasts, in seconds; renewed after a quarter of it.
        """
        self._operation = operation
        self._recorder = recorder
        self._lease_duration_s = lease_duration_s
        self._held_until = time.monotonic() + lease_duration_s
        self._renewal_due = asyncio.Event()

    def wake(self) -> None:
        """Renew the lease now: a cancellation may have been requested."""
        self._renewal_due.set()

    async def renew(self) -> None:
        """Renew the lease once.

        Raises:
            CancelRequested: The cancellation of the operation was requested.
            LeaseLost: Another worker has claimed the operation, or it has ended.
            DatabaseUnavailable: PostgreSQL does not answer.
        """
        # Measured before the statement, so that our lease never outlasts the one in the row.
        started = time.monotonic()
        cancel_requested = await self._recorder.renew_lease(
            self._operation, timedelta(seconds=self._lease_duration_s)
        )
        self._held_until = started + self._lease_duration_s
        if cancel_requested:
            raise CancelRequested

    async def run_heartbeat(self, steps_task: asyncio.Task[None]) -> None:
        """Renew the lease periodically until cancelled; stop the steps when that fails.

        Args:
            steps_task: The task that runs the steps. It is cancelled when the lease is lost or
                the cancellation of the operation was requested.

        Raises:
            CancelRequested: The cancellation of the operation was requested.
            LeaseLost: Another worker has claimed the operation, it has ended, or the lease
                expired while PostgreSQL did not answer.
        """
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._lease_duration_s / 4):
                    await self._renewal_due.wait()
            self._renewal_due.clear()
            try:
                await self.renew()
            except DatabaseUnavailable:
                if self._has_expired():
                    steps_task.cancel()
                    raise LeaseLost(self._operation.id) from None
            except (LeaseLost, CancelRequested):
                steps_task.cancel()
                raise

    async def retry_while_held(self, write: Callable[[], Awaitable[_Written]]) -> _Written:
        """Write, and retry while PostgreSQL is unavailable and the lease has not expired.

        Args:
            write: The write, under the operation's fence; safe to repeat.

        Returns:
            What the write returns.

        Raises:
            LeaseLost: The lease expired before PostgreSQL answered, or the fence has changed.
        """
        while True:
            try:
                return await write()
            except DatabaseUnavailable:
                if self._has_expired():
                    raise LeaseLost(self._operation.id) from None
                await asyncio.sleep(_WRITE_RETRY_PAUSE_S)

    def _has_expired(self) -> bool:
        return time.monotonic() > self._held_until
