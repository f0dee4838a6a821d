"""Measure how long a wait and a problem have lasted, and decide when they are final."""

import math
import time
from typing import NamedTuple

from storefleet.core.errors import PermanentError, TransientError
from storefleet.runtimes.kubernetes.readiness.diagnosis_types import (
    Diagnosis,
    NotReady,
    ReadinessProblem,
    WarningEvent,
)

#: Without a change for so long, reading warning events is worth a request.
_QUIET_TIME_S = 3.0
_WARNINGS_INTERVAL_S = 5.0
#: A state that passes sooner is not worth a progress event.
_REPORT_DELAY_S = 1.0
#: After an outage of the API server, nodes and controllers lag; until then no problem is final.
_OUTAGE_RECOVERY_S = 120.0


class WaitLimits(NamedTuple):
    """The limits of a wait whose cause cannot be named.

    Attributes:
        timeout_s: Seconds after which the wait fails.
        setup_extension_s: Seconds by which a running setup Job may extend it.
        is_final: Whether a timeout is permanent; else the step is retried.
    """

    timeout_s: float = 300
    setup_extension_s: float = 0
    is_final: bool = False


CREATE_LIMITS = WaitLimits()
VERSION_CHANGE_LIMITS = WaitLimits(timeout_s=90, setup_extension_s=330, is_final=True)


class GracePeriods:
    """Measures how long one step has waited for one store.

    Outages of the API server do not count. All methods accept `now`, a monotonic time in seconds,
    for tests.

    Attributes:
        warnings: The warning events read last.
    """

    def __init__(self, limits: WaitLimits = CREATE_LIMITS, *, now: float | None = None) -> None:
        now = _get_time(now)
        self._limits = limits
        self._setup_extension_used_s = 0.0
        self.warnings: tuple[WarningEvent, ...] = ()
        self._started_at = self._updated_at = self._changed_at = now
        self._warnings_read_at = 0.0
        self._last_text = ""
        self._problem_code = ""
        self._problem_since = 0.0

    def record_problem(
        self,
        problem: ReadinessProblem,
        *,
        restored_at: float = -math.inf,
        now: float | None = None,
    ) -> bool:
        """Record the current problem, and return whether it has outlasted its grace period.

        Args:
            problem: The current problem; its grace period starts when its code appears.
            restored_at: When the API server was available again after its last outage.
            now: Monotonic time.
        """
        now = _get_time(now)
        if problem.code != self._problem_code:
            self._problem_code, self._problem_since = problem.code, now
        if problem.grace_period_s and now - restored_at < _OUTAGE_RECOVERY_S:
            return False
        return now - self._problem_since >= problem.grace_period_s

    def record_diagnosis(self, diagnosis: Diagnosis, *, now: float | None = None) -> None:
        """Record a diagnosis and advance the clock.

        Raises:
            PermanentError: The wait has lasted longer than its limit, which is final.
            TransientError: The wait has lasted longer than its limit.
        """
        now = _get_time(now)
        self._updated_at = now
        text = diagnosis.cause if isinstance(diagnosis, ReadinessProblem) else diagnosis.text
        if isinstance(diagnosis, NotReady):
            self._problem_code = ""
        if text != self._last_text:
            self._last_text, self._changed_at = text, now
        if now - self._started_at > self._limits.timeout_s:
            self._raise_timeout(text)

    def extend_for_setup(self, *, now: float | None = None) -> None:
        """Extend the wait while a setup Job runs, which has a deadline of its own."""
        now = _get_time(now)
        if self._setup_extension_used_s < self._limits.setup_extension_s:
            self._setup_extension_used_s += now - self._updated_at
            self._started_at += now - self._updated_at
            self._updated_at = now

    def exclude_outage(self, *, now: float | None = None) -> None:
        """Exclude the time since the last update: the API server is unavailable."""
        now = _get_time(now)
        self._started_at += now - self._updated_at
        self._updated_at = now
        self._problem_code = ""

    def is_worth_reporting(self, *, now: float | None = None) -> bool:
        """Return whether the diagnosis has been the same for a second."""
        return _get_time(now) - self._changed_at >= _REPORT_DELAY_S

    def start_warning_read(self, *, now: float | None = None) -> bool:
        """Start a read of warning events if one is due; return whether it is."""
        now = _get_time(now)
        is_quiet = now - self._changed_at >= _QUIET_TIME_S
        if not is_quiet or now - self._warnings_read_at < _WARNINGS_INTERVAL_S:
            return False
        self._warnings_read_at = now
        return True

    def clear_warnings(self) -> None:
        """Discard the warning events read last."""
        self.warnings = ()

    def _raise_timeout(self, text: str) -> None:
        timeout_s = self._limits.timeout_s
        detail = f"The store is not ready after {timeout_s:.0f} s. It waits for {text}."
        if self._limits.is_final:
            raise PermanentError(
                "store_not_ready",
                detail,
                next_step="Read the log lines and the store's log, correct the cause, then retry.",
            )
        raise TransientError(
            "store_not_ready",
            detail,
            next_step="Read the store's log and the warning events of its namespace; the operation"
            " retries automatically.",
        )


def _get_time(now: float | None) -> float:
    return time.monotonic() if now is None else now
