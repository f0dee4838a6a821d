"""How long a wait has lasted, and how long a trouble: what of it is certain by now."""

import math
import time
from typing import NamedTuple

from storefleet.core.errors import PermanentError, TransientError
from storefleet.runtimes.kubernetes.readiness.diagnosis import (
    Diagnosis,
    NotReady,
    ReadinessProblem,
    WarningEvent,
)

_QUIET_TIME_S = 3.0  # without anything new; then warnings are worth a request
_WARNINGS_INTERVAL_S = 5.0
_REPORT_DELAY_S = 1.0  # what passes sooner is not worth an event
_OUTAGE_RECOVERY_S = 120.0  # after the cluster was away, its nodes and controllers have to catch up before anything is certain


class WaitLimits(NamedTuple):
    """Of a wait for which no cause can be named, in seconds; a set-up that runs is waited for beyond that."""

    timeout_s: float = 300
    setup_extension_s: float = 0
    is_final: bool = False  # whether it is not tried again


CREATE_LIMITS = WaitLimits()
VERSION_CHANGE_LIMITS = WaitLimits(timeout_s=90, setup_extension_s=330, is_final=True)


class GracePeriods:
    """Of one step, while it waits for one store; times in which the cluster was away do not count."""

    def __init__(self, limits: WaitLimits = CREATE_LIMITS, *, now: float | None = None) -> None:
        self._limits = limits
        self._setup_extension_used_s = 0.0
        self.warnings: tuple[WarningEvent, ...] = ()
        self._started_at = self._updated_at = self._changed_at = (
            time.monotonic() if now is None else now
        )
        self._warnings_read_at = 0.0
        self._last_text = ""
        self._problem_code = ""
        self._problem_since = 0.0

    def has_grace_period_expired(
        self, problem: ReadinessProblem, *, restored_at: float = -math.inf, now: float | None = None
    ) -> bool:
        """Whether it has lasted; `restored` is when the cluster came back the last time."""
        now = time.monotonic() if now is None else now
        if problem.code != self._problem_code:
            self._problem_code, self._problem_since = problem.code, now
        if problem.grace_period_s and now - restored_at < _OUTAGE_RECOVERY_S:
            return False
        return now - self._problem_since >= problem.grace_period_s

    def record_diagnosis(self, diagnosis: Diagnosis, *, now: float | None = None) -> None:
        """Time goes by with this; raises TransientError when it was too much."""
        now = time.monotonic() if now is None else now
        self._updated_at = now
        text = diagnosis.cause if isinstance(diagnosis, ReadinessProblem) else diagnosis.text
        if isinstance(diagnosis, NotReady):
            self._problem_code = ""
        if text != self._last_text:
            self._last_text, self._changed_at = text, now
        if now - self._started_at > self._limits.timeout_s:
            self._raise_timeout(text)

    def _raise_timeout(self, text: str) -> None:
        detail = f"Not ready after {self._limits.timeout_s:.0f} s; it waits for {text}."
        if self._limits.is_final:
            raise PermanentError(
                "store_not_ready",
                detail,
                next_step="Read its last lines and the store's log, mend the cause, then retry.",
            )
        raise TransientError(
            "store_not_ready",
            detail,
            next_step="Read the store's log and what the cluster says; it is tried again.",
        )

    def extend_for_setup(self, *, now: float | None = None) -> None:
        """A set-up runs, which has a limit of its own."""
        now = time.monotonic() if now is None else now
        if self._setup_extension_used_s < self._limits.setup_extension_s:
            self._setup_extension_used_s += now - self._updated_at
            self._started_at += now - self._updated_at
            self._updated_at = now

    def is_worth_reporting(self, *, now: float | None = None) -> bool:
        """Whether it has waited for the same thing long enough to tell people."""
        return (time.monotonic() if now is None else now) - self._changed_at >= _REPORT_DELAY_S

    def exclude_outage(self, *, now: float | None = None) -> None:
        """The cluster is away: nothing can be blamed on the store."""
        now = time.monotonic() if now is None else now
        self._started_at += now - self._updated_at
        self._updated_at = now
        self._problem_code = ""

    def should_read_warnings(self, *, now: float | None = None) -> bool:
        """Whether nothing new was seen for a while, and they were not asked for just now."""
        now = time.monotonic() if now is None else now
        if (
            now - self._changed_at < _QUIET_TIME_S
            or now - self._warnings_read_at < _WARNINGS_INTERVAL_S
        ):
            return False
        self._warnings_read_at = now
        return True

    def clear_warnings(self) -> None:
        self.warnings = ()
