"""Keeps the streams and consumers on the bus: made at the start, and again whenever the server may have lost them."""

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
    """Holds a connection as the one user that may make streams."""

    def __init__(self, url: str, *, replicas: int) -> None:
        self._address = extract_address(url)
        self._bus = MessageBus(url, name="node", replicas=replicas)
        self._check_requested = asyncio.Event()

    @contextlib.asynccontextmanager
    async def open_connection(self) -> AsyncIterator["StreamKeeper"]:
        async with self._bus.open_connection():
            yield self

    async def create_streams(self) -> None:
        """Make them; raises NodeError when the bus does not answer in time."""
        last = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_TIMEOUT_S):
                while True:
                    try:
                        await self._bus.ensure_streams()
                    except MessagingUnavailable as error:
                        last = str(error)
                        await asyncio.sleep(0.02)
                    else:
                        return
        raise NodeError(
            f"NATS at {self._address} does not answer as it should: {last} Check address, user and permissions."
        )

    def request_check(self) -> None:
        """The server was started again: look at once."""
        self._check_requested.set()

    async def run(self) -> None:
        """Look again every ten seconds, until cancelled."""
        while True:
            self._check_requested.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(
                    CHECK_INTERVAL_S
                ):  # wait_for swallows a cancel that comes together with the event
                    await self._check_requested.wait()
            await self._ensure_streams()

    async def _ensure_streams(self) -> None:
        while True:
            try:
                await self._bus.ensure_streams()
            except MessagingUnavailable as error:
                log.warning("streams_unknown", error=str(error))
                await asyncio.sleep(0.3)
            else:
                return
