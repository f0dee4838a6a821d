"""A client of the event websocket that keeps every frame."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.support.services.polling import eventually


class Listener:
    """One open websocket: `frames` in the order of arrival, `code` once it is closed."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self.frames: list[dict[str, Any]] = []
        self.code: int | None = None
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self.ws:
            if message.type is aiohttp.WSMsgType.TEXT:
                self.frames.append(message.json())
        self.code = self.ws.close_code

    @property
    def seqs(self) -> list[int]:
        return [frame["seq"] for frame in self.frames]

    def types(self, store_id: str | None = None) -> list[str]:
        return [frame["type"] for frame in self.frames if store_id in (None, frame.get("store_id"))]

    async def wait_for_frame(
        self, event_type: str, *, store_id: str | None = None, within: float = 10
    ) -> dict[str, Any]:
        """Wait for the first frame of that type (and store) and return it."""

        def look() -> dict[str, Any] | None:
            return next(
                (
                    f
                    for f in self.frames
                    if f["type"] == event_type and store_id in (None, f.get("store_id"))
                ),
                None,
            )

        found = await eventually(look, within=within)
        assert found is not None
        return found

    async def reached(self, seq: int, *, within: float = 10) -> None:
        await eventually(lambda: any(frame["seq"] >= seq for frame in self.frames), within=within)

    async def wait_until_closed(self, *, within: float = 10) -> int | None:
        """Wait until the websocket is closed and return the close code."""
        done, _ = await asyncio.wait({self._task}, timeout=within)
        assert done, "still open"
        return self.code

    async def end(self) -> None:
        await self.ws.close()
        await asyncio.wait({self._task}, timeout=5)


@asynccontextmanager
async def open_listener(
    session: aiohttp.ClientSession, url: str, **more: Any
) -> AsyncIterator[Listener]:
    ws = await session.ws_connect(url, max_msg_size=1 << 22, **more)
    listener = Listener(ws)
    try:
        yield listener
    finally:
        await listener.end()
