"""A customer who never stops: asks a shop for a page every tenth of a second, and knows when it was not shown."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import aiohttp

EVERY = 0.1
_PATIENCE = 5.0  # with one answer
_AT_ONCE = 4  # who waits for so many answers asks nothing more: that would be a load test


class Asked(NamedTuple):
    """One request: when it was due, when it was over, what was wrong."""

    due: float
    over: float
    problem: str


class Customer:
    """Asks `url` under a host name for a page that shows `expect`; each request leaves when its time has come."""

    def __init__(self, url: str, *, host: str, expect: str) -> None:
        self._url, self._host, self._expect = url, host, expect.encode()
        self._over = threading.Event()
        self._open = 0
        self.asked: list[Asked] = []

    @property
    def spans(self) -> list[float]:
        """Seconds in which it was not served: each from a request that failed to the next one that did not."""
        found, began, last = [], None, 0.0
        for each in sorted(self.asked):
            last = each.over
            if each.problem:
                began = each.due if began is None else began
            elif began is not None:
                found.append(each.due - began)
                began = None
        return found if began is None else [*found, last - began]

    @property
    def slowest(self) -> float:
        """Of the answers that were as they should be, seconds."""
        return max((each.over - each.due for each in self.asked if not each.problem), default=0.0)

    @property
    def problems(self) -> list[str]:
        """Each kind once."""
        return sorted({each.problem for each in self.asked if each.problem})

    @contextmanager
    def asking(self) -> Iterator["Customer"]:
        thread = threading.Thread(target=lambda: asyncio.run(self._ask()))
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()

    async def _ask(self) -> None:
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        timeout = aiohttp.ClientTimeout(total=_PATIENCE)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as http,
            asyncio.TaskGroup() as group,
        ):
            due = time.perf_counter()
            while not self._over.is_set():
                if self._open < _AT_ONCE:
                    group.create_task(self._once(http, due))
                due += EVERY
                await asyncio.sleep(max(0.0, due - time.perf_counter()))

    async def _once(self, http: aiohttp.ClientSession, due: float) -> None:
        self._open += 1
        try:
            problem = await self._problem(http)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            problem = type(error).__name__
        self._open -= 1
        self.asked.append(Asked(due, time.perf_counter(), problem))

    async def _problem(self, http: aiohttp.ClientSession) -> str:
        async with http.get(
            self._url, headers={"Host": self._host}, allow_redirects=False
        ) as answer:
            body = await answer.read()
        if answer.status != 200:
            return f"status {answer.status}"
        return "" if self._expect in body else "another page"
