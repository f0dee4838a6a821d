"""Check the storefront of each ready store: at once when it becomes ready, then every few minutes.

The owner may close a store or protect it with a password, and the class says so. Any number of
reapers may do this: each check is claimed by one of them. A check that confirms the class writes
its time only; a change emits the event `store.observed`. This module uses the stores and the
database only, never the Kubernetes API. A simulated store has no storefront that could be checked,
so its class stays `unknown`.
"""

import asyncio
import secrets
import time
from collections.abc import Iterable
from datetime import timedelta
from urllib.parse import urlsplit

from storefleet.core.async_tasks import TaskSlots
from storefleet.core.errors import DatabaseUnavailable
from storefleet.core.identifiers import make_resource_name
from storefleet.core.observed import StorefrontClass
from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.database.repositories.observations import ClaimedCheck
from storefleet.database.repositories.outbox import OUTBOX_CHANNEL
from storefleet.engines.descriptor import Engine
from storefleet.observability import logs, metrics
from storefleet.runtimes.storefront_check import StorefrontCheck

log = logs.get_logger(__name__)

_CHECK_TIMEOUT_S = 20.0
#: One lost request must not turn a store `down`: that needs two checks, with this pause between.
_CONFIRMATION_PAUSE_S = 3.0
#: A store that is down is checked more often, so that its recovery shows soon.
_MAX_PAUSE_WHILE_DOWN_S = 60.0
#: Longer than two checks. When a reaper is killed, another one checks its stores after this time.
_CLAIM_DURATION = timedelta(seconds=2 * _CHECK_TIMEOUT_S + _CONFIRMATION_PAUSE_S + 15)


class StorefrontChecker:
    """Checks up to `settings.storefront_checks` stores at once."""

    def __init__(
        self,
        *,
        database: Database,
        engines: Iterable[Engine],
        check: StorefrontCheck,
        settings: Settings,
        confirmation_pause_s: float = _CONFIRMATION_PAUSE_S,
    ) -> None:
        self._database = database
        self._engines = {engine.name: engine for engine in engines}
        self._check = check
        self._settings = settings
        self._confirmation_pause_s = confirmation_pause_s
        self._slots = TaskSlots(settings.storefront_checks)

    async def run(self) -> None:
        """Check due stores until cancelled; return at once where stores are simulated."""
        if self._settings.runtime == "simulated":
            return
        async with self._check.open_resources():
            try:
                while True:
                    await self._start_due_checks()
                    await self._slots.wait_for_next_scan(self._settings.scan_interval)
            finally:
                await self._slots.cancel()

    async def _start_due_checks(self) -> None:
        if self._slots.free <= 0:
            return
        try:
            async with self._database.transaction() as tx:
                checks = await tx.observations.claim_due(
                    engines=list(self._engines),
                    claim_duration=_CLAIM_DURATION,
                    limit=self._slots.free,
                )
        except DatabaseUnavailable as error:
            log.warning("storefront_checks_postponed", error=str(error.__cause__ or error))
            return
        metrics.STOREFRONT_CHECK_LAG.set(max((check.delay_s for check in checks), default=0.0))
        for check in checks:
            self._slots.start(self._check_store(check))

    async def _check_store(self, check: ClaimedCheck) -> None:
        """Observe a store and record the result; without one, the claim ends by itself."""
        try:
            storefront = await self._observe_with_confirmation(check)
            if storefront is not None:
                await self._record(check, storefront)
        except DatabaseUnavailable as error:
            log.warning("storefront_result_lost", store_id=check.store_id, error=str(error))
        except Exception:
            log.exception("storefront_check_crashed", store_id=check.store_id)

    async def _observe_with_confirmation(self, check: ClaimedCheck) -> StorefrontClass | None:
        """Observe a store, and once more before its class becomes `down`."""
        observed = await self._observe(check)
        if observed != StorefrontClass.DOWN or check.storefront == StorefrontClass.DOWN:
            return observed
        await asyncio.sleep(self._confirmation_pause_s)
        return await self._observe(check)

    async def _observe(self, check: ClaimedCheck) -> StorefrontClass | None:
        """Observe a store through its Service or its local port, under its own host name."""
        server = self._locate_server(check)
        if server is None:
            return None
        started = time.monotonic()
        try:
            async with asyncio.timeout(_CHECK_TIMEOUT_S):
                observation = await self._check.observe(
                    self._engines[check.engine],
                    server=server,
                    host=urlsplit(check.url).netloc,
                    request_id=f"req_{secrets.token_hex(10)}",
                    with_admin=False,
                )
            storefront = observation.storefront
        except TimeoutError:
            storefront = StorefrontClass.DOWN
        metrics.STOREFRONT_CHECK_DURATION.labels(storefront).observe(time.monotonic() - started)
        return storefront

    def _locate_server(self, check: ClaimedCheck) -> str | None:
        """Return where to connect; None for a local store whose placement is being deleted."""
        if self._settings.runtime == "local":
            return f"http://127.0.0.1:{check.port}" if check.port is not None else None
        namespace = make_resource_name(check.store_id)
        return self._settings.store_service.replace("{namespace}", namespace)

    async def _record(self, check: ClaimedCheck, storefront: StorefrontClass) -> None:
        """Record the time of the check or, with an event, another class.

        Neither writes anything when the store has changed since the claim.
        """
        pause_s = self._settings.storefront_check_interval
        if storefront == StorefrontClass.DOWN:
            pause_s = min(pause_s, _MAX_PAUSE_WHILE_DOWN_S)
        if storefront == check.storefront:
            async with self._database.autocommit() as db:
                await db.observations.confirm_storefront(check, storefront, pause_s=pause_s)
            return
        async with self._database.transaction(notify=OUTBOX_CHANNEL) as tx:
            is_written = await tx.observations.change_storefront(check, storefront, pause_s=pause_s)
        if is_written:
            log.info(
                "storefront_class_changed",
                store_id=check.store_id,
                before=check.storefront,
                after=storefront,
            )
