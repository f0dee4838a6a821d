"""Generate the load of the latency benchmark in a separate process, and time responses and events.

Open loop: each request is sent at its scheduled time, independent of earlier ones. Latency is
measured from that time, so that waiting requests do not hide a stall, and from the actual sending.
"""

import asyncio
import json
import re
import sys
import threading
import time
from typing import Any

import uvloop

from tests.bench.figures import percentile
from tests.bench.raw import Lines, open_feed

_TYPES = ("store.requested", "store.provisioning", "store.ready")
_CONNECTIONS = 64
_PATIENCE = 20.0


class Load:
    """One run."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._count = int(plan["rate"] * plan["seconds"])
        self._warm = int(plan["rate"] * plan["warm_up"])
        total = self._count + self._warm
        self._due = [0.0] * total
        self._sent = [0.0] * total
        self._answered = [0.0] * total
        self._status = [0] * total
        self._heard = {kind: [0.0] * total for kind in _TYPES}
        self._twice = 0
        self._pattern = re.compile(rb'"name":"' + plan["prefix"].encode() + rb'-(\d+)"')
        self._requests = [self._request(number) for number in range(total)]
        self._lines = Lines(plan["url"], self._on_answer)

    def _request(self, number: int) -> bytes:
        tokens = self._plan["tokens"]
        body = json.dumps({"name": f"{self._plan['prefix']}-{number}"}).encode()
        head = (
            "POST /api/v1/stores HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {tokens[number % len(tokens)]}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def _on_answer(self, number: int, status: int, _body: bytes) -> None:
        self._answered[number] = time.perf_counter()
        self._status[number] = status

    def _on_frame(self, frame: bytes) -> None:
        heard = time.perf_counter()
        begin = frame.find(b'"type":"') + 8
        times = self._heard.get(frame[begin : frame.index(b'"', begin)].decode())
        found = self._pattern.search(frame)
        if times is None or found is None:
            return
        number = int(found[1])
        if times[number]:
            self._twice += 1
        times[number] = heard

    def _fire(self, number: int) -> None:
        self._sent[number] = time.perf_counter()
        self._lines.send(number, self._requests[number])

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread: the event loop's own timers are only exact to a millisecond."""
        begin, rate = time.perf_counter() + 0.2, self._plan["rate"]
        for number in range(len(self._due)):
            self._due[number] = begin + number / rate
            pause = self._due[number] - time.perf_counter()
            if pause > 0:
                time.sleep(pause)
            loop.call_soon_threadsafe(self._fire, number)

    async def run(self) -> dict[str, Any]:
        feeds = [
            await open_feed(self._plan["live_url"], token, self._on_frame)
            for token in self._plan["tokens"]
        ]
        await self._lines.open(_CONNECTIONS)
        ticker = threading.Thread(target=self._tick, args=(asyncio.get_running_loop(),))
        ticker.start()
        while ticker.is_alive():
            await asyncio.sleep(0.05)
        began = time.perf_counter()
        while time.perf_counter() - began < _PATIENCE and not self._complete():
            await asyncio.sleep(0.05)
        for feed in feeds:
            feed.close()
        self._lines.close()
        return self._result()

    def _complete(self) -> bool:
        return all(self._status) and all(
            all(times[number] for times in self._heard.values())
            for number, status in enumerate(self._status)
            if status == 202
        )

    def _result(self) -> dict[str, Any]:
        numbers = range(self._warm, self._warm + self._count)
        accepted = [number for number in numbers if self._status[number] == 202]
        lost = {
            kind: sum(1 for n in accepted if not times[n]) for kind, times in self._heard.items()
        }
        last = max((times[n] for times in self._heard.values() for n in accepted), default=0.0)
        return {
            "requests": len(numbers),
            "accepted": len(accepted),
            "refused": sorted({self._status[n] for n in numbers} - {202}),
            "lost": sum(lost.values()),
            "twice": self._twice,
            "seconds": last - self._due[self._warm],
            "most_waiting": self._lines.most_waiting,
            "answer": self._spread(accepted, self._answered),
            **{
                kind: self._spread([n for n in accepted if times[n]], times)
                for kind, times in self._heard.items()
            },
            "late": _shape(sorted((self._sent[n] - self._due[n]) * 1000 for n in numbers)),
        }

    def _spread(self, numbers: list[int], ends: list[float]) -> dict[str, Any]:
        return {
            "from_due": _shape(sorted((ends[n] - self._due[n]) * 1000 for n in numbers)),
            "from_sent": _shape(sorted((ends[n] - self._sent[n]) * 1000 for n in numbers)),
        }


def _shape(values: list[float]) -> dict[str, float]:
    """Milliseconds."""
    if not values:
        return {}
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
    return {
        **{name: percentile(values, share) for name, share in shares.items()},
        "max": values[-1],
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(Load(json.load(sys.stdin)).run())))
