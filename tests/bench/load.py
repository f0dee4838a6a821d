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

from tests.bench.figures import compute_percentile
from tests.bench.raw import ConnectionPool, open_feed

_TYPES = ("store.requested", "store.provisioning", "store.ready")
_CONNECTIONS = 64
_COMPLETION_TIMEOUT_S = 20.0


class LoadGenerator:
    """Sends the requests of one run and records their responses and events."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._count = int(plan["rate"] * plan["seconds"])
        self._warm_up_count = int(plan["rate"] * plan["warm_up"])
        total = self._count + self._warm_up_count
        self._due = [0.0] * total
        self._sent = [0.0] * total
        self._answered = [0.0] * total
        self._status = [0] * total
        self._event_times = {kind: [0.0] * total for kind in _TYPES}
        self._duplicates = 0
        self._pattern = re.compile(rb'"name":"' + plan["prefix"].encode() + rb'-(\d+)"')
        self._requests = [self._make_request(number) for number in range(total)]
        self._connections = ConnectionPool(plan["url"], self._on_answer)

    def _make_request(self, number: int) -> bytes:
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
        times = self._event_times.get(frame[begin : frame.index(b'"', begin)].decode())
        found = self._pattern.search(frame)
        if times is None or found is None:
            return
        number = int(found[1])
        if times[number]:
            self._duplicates += 1
        times[number] = heard

    def _send_request(self, number: int) -> None:
        self._sent[number] = time.perf_counter()
        self._connections.send_request(number, self._requests[number])

    def _send_on_schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send in a thread: the event loop's timers are only exact to a millisecond."""
        begin, rate = time.perf_counter() + 0.2, self._plan["rate"]
        for number in range(len(self._due)):
            self._due[number] = begin + number / rate
            pause = self._due[number] - time.perf_counter()
            if pause > 0:
                time.sleep(pause)
            loop.call_soon_threadsafe(self._send_request, number)

    async def run(self) -> dict[str, Any]:
        feeds = [
            await open_feed(self._plan["live_url"], token, self._on_frame)
            for token in self._plan["tokens"]
        ]
        await self._connections.open_connections(_CONNECTIONS)
        sender = threading.Thread(target=self._send_on_schedule, args=(asyncio.get_running_loop(),))
        sender.start()
        while sender.is_alive():
            await asyncio.sleep(0.05)
        began = time.perf_counter()
        while time.perf_counter() - began < _COMPLETION_TIMEOUT_S and not self._is_complete():
            await asyncio.sleep(0.05)
        for feed in feeds:
            feed.close()
        self._connections.close()
        return self._make_result()

    def _is_complete(self) -> bool:
        return all(self._status) and all(
            all(times[number] for times in self._event_times.values())
            for number, status in enumerate(self._status)
            if status == 202
        )

    def _make_result(self) -> dict[str, Any]:
        numbers = range(self._warm_up_count, self._warm_up_count + self._count)
        accepted = [number for number in numbers if self._status[number] == 202]
        lost = {
            kind: sum(1 for n in accepted if not times[n])
            for kind, times in self._event_times.items()
        }
        last = max(
            (times[n] for times in self._event_times.values() for n in accepted), default=0.0
        )
        return {
            "requests": len(numbers),
            "accepted": len(accepted),
            "refused": sorted({self._status[n] for n in numbers} - {202}),
            "lost": sum(lost.values()),
            "duplicates": self._duplicates,
            "seconds": last - self._due[self._warm_up_count],
            "most_waiting": self._connections.most_waiting,
            "answer": self._summarize_latency(accepted, self._answered),
            **{
                kind: self._summarize_latency([n for n in accepted if times[n]], times)
                for kind, times in self._event_times.items()
            },
            "late": _summarize_distribution(
                sorted((self._sent[n] - self._due[n]) * 1000 for n in numbers)
            ),
        }

    def _summarize_latency(self, numbers: list[int], ends: list[float]) -> dict[str, Any]:
        return {
            "from_due": _summarize_distribution(
                sorted((ends[n] - self._due[n]) * 1000 for n in numbers)
            ),
            "from_sent": _summarize_distribution(
                sorted((ends[n] - self._sent[n]) * 1000 for n in numbers)
            ),
        }


def _summarize_distribution(values: list[float]) -> dict[str, float]:
    """Return percentiles and maximum of sorted milliseconds."""
    if not values:
        return {}
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
    return {
        **{name: compute_percentile(values, share) for name, share in shares.items()},
        "max": values[-1],
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(LoadGenerator(json.load(sys.stdin)).run())))
