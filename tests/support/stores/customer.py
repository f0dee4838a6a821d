"""A simulated customer who requests a page every tenth of a second and records failures."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import aiohttp

INTERVAL_S = 0.1
_TIMEOUT_S = 5.0  # of one request
_OPEN_REQUESTS_MAX = 4  # more would make it a load test


class CustomerRequest(NamedTuple):
    """One request: when it was due and when it ended, and its problem or an empty string."""

    due: float
    over: float
    problem: str


class Customer:
    """Requests `url` under a host name and expects a text; requests are sent at a fixed rate."""

    def __init__(self, url: str, *, host: str, expect: str) -> None:
        self._url, self._host, self._expect = url, host, expect.encode()
        self._over = threading.Event()
        self._open = 0
        self.requests: list[CustomerRequest] = []

    @property
    def gaps(self) -> list[float]:
        """Lengths of the gaps in seconds, each from a failed request to the next successful one."""
        found, began, last = [], None, 0.0
        for each in sorted(self.requests):
            last = each.over
            if each.problem:
                began = each.due if began is None else began
            elif began is not None:
                found.append(each.due - began)
                began = None
        return found if began is None else [*found, last - began]

    @property
    def slowest(self) -> float:
        """Duration in seconds of the slowest successful request."""
        return max(
            (each.over - each.due for each in self.requests if not each.problem), default=0.0
        )

    @property
    def problems(self) -> list[str]:
        """The distinct problems."""
        return sorted({each.problem for each in self.requests if each.problem})

    @contextmanager
    def visiting(self) -> Iterator["Customer"]:
        thread = threading.Thread(target=lambda: asyncio.run(self._send_requests()))
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()

    async def _send_requests(self) -> None:
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as http,
            asyncio.TaskGroup() as group,
        ):
            due = time.perf_counter()
            while not self._over.is_set():
                if self._open < _OPEN_REQUESTS_MAX:
                    group.create_task(self._send_request(http, due))
                due += INTERVAL_S
                await asyncio.sleep(max(0.0, due - time.perf_counter()))

    async def _send_request(self, http: aiohttp.ClientSession, due: float) -> None:
        self._open += 1
        try:
            problem = await self._check_page(http)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            problem = type(error).__name__
        self._open -= 1
        self.requests.append(CustomerRequest(due, time.perf_counter(), problem))

    async def _check_page(self, http: aiohttp.ClientSession) -> str:
        async with http.get(
            self._url, headers={"Host": self._host}, allow_redirects=False
        ) as answer:
            body = await answer.read()
        if answer.status != 200:
            return f"status {answer.status}"
        return "" if self._expect in body else "another page"
