"""A websocket client that resumes after the last number, as a page does."""

import asyncio
import json
from contextlib import suppress
from typing import Any, Self

import aiohttp

from tests.support.services.platform import Platform


class Follower:
    """Collects frames until it is closed; reconnects with `after` when disconnected."""

    def __init__(self, platform: Platform, *, after: int) -> None:
        self._admin = platform.admin
        self.seq = after
        self.frames: list[dict[str, Any]] = []
        self.problems: list[str] = []
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _follow(self) -> None:
        headers = {"Authorization": f"Bearer {self._admin['token']}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            while True:
                with suppress(aiohttp.ClientError, OSError, TimeoutError):
                    await self._listen(session)
                await asyncio.sleep(0.2)

    async def _listen(self, session: aiohttp.ClientSession) -> None:
        async with session.ws_connect(f"{self._admin['live_url']}?after={self.seq}") as ws:
            self.connections += 1
            async for message in ws:
                frame = json.loads(message.data)
                if frame["type"] == "reset":
                    self.problems.append(f"reset at {frame['seq']} after {self.seq}")
                elif frame["seq"] <= self.seq:
                    self.problems.append(f"{frame['seq']} again after {self.seq}")
                elif frame["seq"] != self.seq + 1:  # with one tenant there are no gaps
                    self.problems.append(f"{frame['seq']} follows {self.seq}")
                self.seq = frame["seq"]
                self.frames.append(frame)
