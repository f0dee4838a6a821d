"""Open thousands of websockets in a separate process; report when the last one got each event."""

import asyncio
import json
import sys
import time
from datetime import datetime
from typing import Any

import uvloop

from tests.bench.raw import Feed, open_feed

_CONCURRENT_OPENS = 50


class Crowd:
    """Websockets that stay open until each has received the expected number of events."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._arrival_times: dict[int, list[float]] = {}
        self._event_times: dict[int, float] = {}
        self._missing_frames = plan["sockets"] * plan["events"]
        self._done = asyncio.Event()

    async def run(self) -> dict[str, Any]:
        began = time.perf_counter()
        feeds = await self._open_feeds()
        print(json.dumps({"opened": time.perf_counter() - began}), flush=True)
        await asyncio.wait_for(self._done.wait(), timeout=self._plan["timeout"])
        closed = sum(feed.closed for feed in feeds)
        spread = [
            max(times) - self._event_times[seq]
            for seq, times in sorted(self._arrival_times.items())
        ]
        for feed in feeds:
            feed.close()
        return {"last_after": spread, "closed": closed}

    async def _open_feeds(self) -> list[Feed]:
        gate = asyncio.Semaphore(_CONCURRENT_OPENS)

        async def one() -> Feed:
            async with gate:
                return await open_feed(self._plan["live_url"], self._plan["token"], self._on_frame)

        return list(await asyncio.gather(*(one() for _ in range(self._plan["sockets"]))))

    def _on_frame(self, frame: bytes) -> None:
        heard = time.time()
        begin = frame.index(b'"seq":') + 6
        seq = int(frame[begin : frame.index(b",", begin)])
        times = self._arrival_times.setdefault(seq, [])
        if not times:
            self._event_times[seq] = datetime.fromisoformat(json.loads(frame)["time"]).timestamp()
        times.append(heard)
        self._missing_frames -= 1
        if self._missing_frames == 0:
            self._done.set()


async def _main() -> None:
    plan = json.loads(sys.stdin.readline())
    print(json.dumps(await Crowd(plan).run()), flush=True)


if __name__ == "__main__":
    uvloop.run(_main())
