"""Asks every ready store, at the pace its engine wants, for the page by which it does what it does by time.

Shops on PHP have no clock of their own: somebody has to ask. Any number of reapers may run this; each turn of a store
is claimed by one of them. It asks the stores and the database only, never the cluster's API server.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.parse import urlsplit

import aiohttp

from storefleet.core.async_tasks import cancel_and_wait
from storefleet.core.errors import DatabaseUnavailable
from storefleet.core.identifiers import make_resource_name
from storefleet.core.settings import Settings
from storefleet.database.cron_calls import CronCall
from storefleet.database.pool import Database
from storefleet.engines.catalogue import Engine
from storefleet.observability import logs, metrics

log = logs.get_logger(__name__)

_ENROL_INTERVAL_S = 5.0
_LOG_INTERVAL_S = 60.0
_MAX_PAUSE = timedelta(minutes=30)  # of a store that never answers
_MAX_RESPONSE_BYTES = 64 << 10  # of an answer whose text nobody needs


class CronCaller:
    """Up to `settings.cron_concurrency` stores at once; what does not answer is asked less and less often."""

    def __init__(
        self, *, database: Database, engines: Iterable[Engine], settings: Settings
    ) -> None:
        self._database = database
        self._settings = settings
        self._cron_endpoints = {
            engine.name: engine.kubernetes.cron
            for engine in engines
            if engine.kubernetes and engine.kubernetes.cron
        }
        self._interval_s_by_engine = {
            name: float(ticker.every) for name, ticker in self._cron_endpoints.items()
        }
        self._tasks: set[asyncio.Task[None]] = set()
        self._enrol_at = 0.0
        self._log_at = 0.0
        self._unlogged_failures: dict[str, str] = {}  # what is not told yet, by store

    async def run(self) -> None:
        """Until cancelled; at once, when no engine wants it."""
        if not self._cron_endpoints or self._settings.runtime != "kubernetes":
            return
        async with self._open_http_session() as http:
            try:
                while True:
                    await self._start_due_calls(http)
                    await self._wait_for_next_scan()
            finally:
                await cancel_and_wait(self._tasks)

    @asynccontextmanager
    async def _open_http_session(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Without cookies, and without connections that are kept: they would hold a shop up when it stops."""
        timeout = aiohttp.ClientTimeout(total=self._settings.cron_timeout, sock_connect=5)
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        async with aiohttp.ClientSession(
            timeout=timeout, connector=connector, cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            yield session

    async def _start_due_calls(self, http: aiohttp.ClientSession) -> None:
        try:
            for turn in await self._claim_due_calls():
                task = asyncio.create_task(self._call_store(http, turn))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        except DatabaseUnavailable as error:
            log.warning("ticker_waits", error=str(error.__cause__ or error))
        self._log_failures()

    async def _claim_due_calls(self) -> list[CronCall]:
        if time.monotonic() >= self._enrol_at:
            async with self._database.transaction() as tx:
                await tx.cron_calls.synchronize(self._interval_s_by_engine)
            self._enrol_at = time.monotonic() + _ENROL_INTERVAL_S
        free = self._settings.cron_concurrency - len(self._tasks)
        if free <= 0:
            return []
        async with self._database.transaction() as tx:
            turns = await tx.cron_calls.claim_due(self._interval_s_by_engine, limit=free)
        metrics.CRON_CALL_LAG.set(max((turn.delay_s for turn in turns), default=0.0))
        return turns

    async def _wait_for_next_scan(self) -> None:
        """Until it is time to look again, or, when all hands are full, until one is free."""
        if len(self._tasks) < self._settings.cron_concurrency:
            await asyncio.sleep(self._settings.scan_interval)
        else:
            await asyncio.wait(
                self._tasks,
                timeout=self._settings.scan_interval,
                return_when=asyncio.FIRST_COMPLETED,
            )

    async def _call_store(self, http: aiohttp.ClientSession, call: CronCall) -> None:
        """Whatever becomes of it, the next turn comes."""
        began = time.monotonic()
        try:
            problem = await self._request_cron_url(http, call)
        except Exception as error:
            log.exception("tick_crashed", store_id=call.store_id)
            problem = ("failed", type(error).__name__)
        metrics.CRON_CALLS.labels(problem[0] if problem else "answered").inc()
        metrics.CRON_CALL_DURATION.observe(time.monotonic() - began)
        try:
            await self._record_result(call, problem[1] if problem else None)
        except DatabaseUnavailable:
            return  # the claim has set the next turn already

    async def _request_cron_url(
        self, http: aiohttp.ClientSession, call: CronCall
    ) -> tuple[str, str] | None:
        """Kind and text of what went wrong, or None."""
        server = self._settings.store_service.replace(
            "{namespace}", make_resource_name(call.store_id)
        )
        headers = {
            "Host": urlsplit(call.url).netloc,
            "User-Agent": "Storefleet",
            "X-Forwarded-Proto": self._settings.store_scheme,
        }
        path = self._cron_endpoints[call.engine].path
        try:
            async with http.get(server + path, headers=headers, allow_redirects=False) as response:
                await _read_response(response)
                return (
                    None
                    if 200 <= response.status < 300
                    else ("refused", f"it answers {response.status}")
                )
        except TimeoutError:
            return "timeout", f"it does not answer within {self._settings.cron_timeout:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return "unavailable", f"it does not answer ({type(error).__name__})"

    async def _record_result(self, call: CronCall, problem: str | None) -> None:
        async with self._database.autocommit() as db:
            if problem is None:
                await db.cron_calls.record_success(call.store_id)
                return
            every = self._interval_s_by_engine[call.engine]
            await db.cron_calls.record_failure(
                call.store_id, interval_s=every, max_interval=_MAX_PAUSE
            )
        self._unlogged_failures[call.store_id] = problem

    def _log_failures(self) -> None:
        """One line for all that failed, at most once a minute."""
        if self._unlogged_failures and time.monotonic() >= self._log_at:
            self._log_at = time.monotonic() + _LOG_INTERVAL_S
            store_id, problem = next(iter(self._unlogged_failures.items()))
            log.warning(
                "stores_not_ticking",
                stores=len(self._unlogged_failures),
                store_id=store_id,
                reason=problem,
            )
            self._unlogged_failures.clear()


async def _read_response(response: aiohttp.ClientResponse) -> None:
    """To the end of what a shop could mean: one that is left while it works may give up."""
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > _MAX_RESPONSE_BYTES:
            return
