"""Keeps the streams and consumers on the bus: made at the start, and again whenever the server may have lost them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from storefleet.core.errors import MessagingUnavailable
from storefleet.messaging import MessageBus
from storefleet.node.node_error import NodeError
from storefleet.node.servers.sql import place_of
from storefleet.observability import logs

log = logs.get_logger(__name__)

EVERY = 10.0
PATIENCE = 10.0


class Streams:
    """Holds a connection as the one user that may make streams."""

    def __init__(self, url: str, *, replicas: int) -> None:
        self._place = place_of(url)
        self._bus = MessageBus(url, name="node", replicas=replicas)
        self._lost = asyncio.Event()

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator["Streams"]:
        async with self._bus.open_connection():
            yield self

    async def first(self) -> None:
        """Make them; raises NodeError when the bus does not answer in time."""
        last = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while True:
                    try:
                        await self._bus.ensure_streams()
                    except MessagingUnavailable as error:
                        last = str(error)
                        await asyncio.sleep(0.02)
                    else:
                        return
        raise NodeError(
            f"NATS at {self._place} does not answer as it should: {last} Check address, user and permissions."
        )

    def lost(self) -> None:
        """The server was started again: look at once."""
        self._lost.set()

    async def run(self) -> None:
        """Look again every ten seconds, until cancelled."""
        while True:
            self._lost.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(
                    EVERY
                ):  # wait_for swallows a cancel that comes together with the event
                    await self._lost.wait()
            await self._again()

    async def _again(self) -> None:
        while True:
            try:
                await self._bus.ensure_streams()
            except MessagingUnavailable as error:
                log.warning("streams_unknown", error=str(error))
                await asyncio.sleep(0.3)
            else:
                return
