"""Call each ready store's cron URL at the interval that its engine declares.

PHP has no scheduler, so an engine such as WooCommerce runs its periodic jobs during a request that
somebody must send. Any number of reapers may do this: each call is claimed by one of them. An owner
may close the address: the store's `cron` then says so, and that is no error. This module uses the
stores and the database only, never the Kubernetes API.
"""

import time
from collections.abc import Iterable
from datetime import timedelta
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp

from storefleet.core.async_tasks import TaskSlots
from storefleet.core.errors import DatabaseUnavailable
from storefleet.core.identifiers import make_resource_name
from storefleet.core.observed import CronState
from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.database.repositories.cron_calls import CronCall
from storefleet.database.repositories.outbox import OUTBOX_CHANNEL
from storefleet.engines.descriptor import Engine
from storefleet.observability import logs, metrics
from storefleet.runtimes.store_http import make_store_headers, open_store_session

log = logs.get_logger(__name__)

_SYNCHRONIZE_INTERVAL_S = 5.0
_LOG_INTERVAL_S = 60.0
_CONNECT_TIMEOUT_S = 5
_MAX_PAUSE = timedelta(minutes=30)  # of a store that never answers
_CLOSED_PAUSE_S = 900.0  # of a store whose owner closed the address, which may be opened again
_CLOSED_STATUSES = frozenset({401, 403, 404, 410, *range(300, 400)})
_FAILING_AFTER = 3  # failures in a row
_MAX_RESPONSE_BYTES = 64 << 10  # the response is discarded


class CallFailure(NamedTuple):
    """Why a cron call was not answered: `outcome` for the metric, `reason` for the log."""

    outcome: str
    reason: str

    @property
    def is_closed(self) -> bool:
        """Whether the owner has closed the address, which is no error."""
        return self.outcome == "closed"


class CronCaller:
    """Calls up to `settings.cron_concurrency` stores at once, with backoff for failing stores."""

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
            name: float(endpoint.every) for name, endpoint in self._cron_endpoints.items()
        }
        self._slots = TaskSlots(settings.cron_concurrency)
        self._synchronize_at = 0.0
        self._log_at = 0.0
        self._unlogged_failures: dict[str, str] = {}  # reasons by store id

    async def run(self) -> None:
        """Call due stores until cancelled; return at once when no engine declares a cron URL."""
        if not self._cron_endpoints or self._settings.runtime != "kubernetes":
            return
        async with open_store_session() as http:
            try:
                while True:
                    await self._start_due_calls(http)
                    await self._slots.wait_for_next_scan(self._settings.scan_interval)
            finally:
                await self._slots.cancel()

    async def _start_due_calls(self, http: aiohttp.ClientSession) -> None:
        try:
            for call in await self._claim_due_calls():
                self._slots.start(self._call_store(http, call))
        except DatabaseUnavailable as error:
            log.warning("cron_calls_postponed", error=str(error.__cause__ or error))
        self._log_failures()

    async def _claim_due_calls(self) -> list[CronCall]:
        if time.monotonic() >= self._synchronize_at:
            async with self._database.transaction() as tx:
                await tx.cron_calls.synchronize(self._interval_s_by_engine)
            self._synchronize_at = time.monotonic() + _SYNCHRONIZE_INTERVAL_S
        if self._slots.free <= 0:
            return []
        async with self._database.transaction() as tx:
            calls = await tx.cron_calls.claim_due(
                self._interval_s_by_engine, limit=self._slots.free
            )
        metrics.CRON_CALL_LAG.set(max((call.delay_s for call in calls), default=0.0))
        return calls

    async def _call_store(self, http: aiohttp.ClientSession, call: CronCall) -> None:
        """Send one cron call and record its result; the claim has scheduled the next one."""
        started = time.monotonic()
        try:
            failure = await self._request_cron_url(http, call)
        except Exception as error:
            log.exception("cron_call_crashed", store_id=call.store_id)
            failure = CallFailure("failed", type(error).__name__)
        metrics.CRON_CALLS.labels(failure.outcome if failure else "answered").inc()
        metrics.CRON_CALL_DURATION.observe(time.monotonic() - started)
        try:
            await self._record_result(call, failure)
        except DatabaseUnavailable:
            return

    async def _request_cron_url(
        self, http: aiohttp.ClientSession, call: CronCall
    ) -> CallFailure | None:
        """Request the cron URL through the store's Service, under its own host name."""
        server = self._settings.store_service.replace(
            "{namespace}", make_resource_name(call.store_id)
        )
        headers = make_store_headers(
            host=urlsplit(call.url).netloc, scheme=self._settings.store_scheme
        )
        timeout = aiohttp.ClientTimeout(
            total=self._settings.cron_timeout, sock_connect=_CONNECT_TIMEOUT_S
        )
        path = self._cron_endpoints[call.engine].path
        try:
            async with http.get(
                server + path, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                await _read_response(response)
                if 200 <= response.status < 300:
                    return None
                if response.status in _CLOSED_STATUSES:
                    return CallFailure("closed", f"The store answers {response.status}.")
                return CallFailure("refused", f"The store answers {response.status}.")
        except TimeoutError:
            timeout_s = self._settings.cron_timeout
            return CallFailure("timeout", f"The store does not answer within {timeout_s:g} s.")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reason = f"The store does not answer ({type(error).__name__})."
            return CallFailure("unavailable", reason)

    async def _record_result(self, call: CronCall, failure: CallFailure | None) -> None:
        cron = await self._record_next_call(call, failure)
        if cron is not None and cron != call.cron:
            await self._record_state(call, cron)

    async def _record_next_call(
        self, call: CronCall, failure: CallFailure | None
    ) -> CronState | None:
        """Adjust the time of the next call; return the state of the calls, None if undecided."""
        async with self._database.autocommit() as db:
            if failure is None:
                await db.cron_calls.record_success(call.store_id)
                return CronState.CALLING
            if failure.is_closed:
                await db.cron_calls.record_closed(call.store_id, pause_s=_CLOSED_PAUSE_S)
                return CronState.CLOSED_BY_OWNER
            failures = await db.cron_calls.record_failure(
                call.store_id,
                interval_s=self._interval_s_by_engine[call.engine],
                max_interval=_MAX_PAUSE,
            )
        self._unlogged_failures[call.store_id] = failure.reason
        return CronState.FAILING if failures >= _FAILING_AFTER else None

    async def _record_state(self, call: CronCall, cron: CronState) -> None:
        """Record that the calls have another state, unless the store has changed meanwhile."""
        async with self._database.transaction(notify=OUTBOX_CHANNEL) as tx:
            is_written = await tx.observations.change_cron(
                call.store_id, cron, version=call.version
            )
        if is_written:
            log.info("cron_state_changed", store_id=call.store_id, before=call.cron, after=cron)

    def _log_failures(self) -> None:
        """Log all failures as one event, at most once a minute."""
        if self._unlogged_failures and time.monotonic() >= self._log_at:
            self._log_at = time.monotonic() + _LOG_INTERVAL_S
            store_id, reason = next(iter(self._unlogged_failures.items()))
            log.warning(
                "cron_calls_failed",
                stores=len(self._unlogged_failures),
                store_id=store_id,
                reason=reason,
            )
            self._unlogged_failures.clear()


async def _read_response(response: aiohttp.ClientResponse) -> None:
    """Read the response up to a limit: a store may stop its jobs when the client disconnects."""
    size_bytes = 0
    async for part in response.content.iter_any():
        size_bytes += len(part)
        if size_bytes > _MAX_RESPONSE_BYTES:
            return
