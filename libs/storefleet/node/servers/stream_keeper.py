"""The stream keeper: create the streams and consumers, and recreate those that NATS lost.

It connects as the only user that may create streams; the services' users cannot.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from storefleet.core.errors import MessagingUnavailable
from storefleet.messaging import MessageBus
from storefleet.node.node_error import NodeError
from storefleet.node.servers.sql import extract_address
from storefleet.observability import logs

log = logs.get_logger(__name__)

CHECK_INTERVAL_S = 10.0
START_TIMEOUT_S = 10.0


class StreamKeeper:
    """Ensures that the streams and consumers exist, at the start and every ten seconds.

    Args:
        url: The URL of NATS for the user `node`.
        replicas: The number of copies of each stream.
    """

    def __init__(self, url: str, *, replicas: int) -> None:
        self._address = extract_address(url)
        self._bus = MessageBus(url, name="node", replicas=replicas)
        self._check_requested = asyncio.Event()

    @contextlib.asynccontextmanager
    async def open_connection(self) -> AsyncIterator["StreamKeeper"]:
        """Connect in the background; close the connection on exit."""
        async with self._bus.open_connection():
            yield self

    async def create_streams(self) -> None:
        """Create the missing streams and consumers.

        Raises:
            NodeError: NATS does not answer or rejects the request within ten seconds.
        """
        reason = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_TIMEOUT_S):
                while True:
                    try:
                        await self._bus.ensure_streams()
                    except MessagingUnavailable as error:
                        reason = str(error)
                        await asyncio.sleep(0.02)
                    else:
                        return
        raise NodeError(
            f"The NATS server at {self._address} cannot be used: {reason} Check its address, user "
            "and permissions."
        )

    def request_check(self) -> None:
        """Check at once: the server has restarted and may have lost its streams."""
        self._check_requested.set()

    async def run(self) -> None:
        """Check the streams every ten seconds and after every request, until cancelled."""
        while True:
            self._check_requested.clear()
            with contextlib.suppress(TimeoutError):
                # wait_for swallows a cancellation that arrives together with the event
                async with asyncio.timeout(CHECK_INTERVAL_S):
                    await self._check_requested.wait()
            await self._ensure_streams()

    async def _ensure_streams(self) -> None:
        while True:
            try:
                await self._bus.ensure_streams()
            except MessagingUnavailable as error:
                log.warning("stream_check_failed", error=str(error))
                await asyncio.sleep(0.3)
            else:
                return
