"""How long a wait has lasted, and how long a trouble: what of it is certain by now."""

import math
import time
from typing import NamedTuple

from storefleet.core.errors import PermanentError, TransientError
from storefleet.runtimes.kubernetes.readiness.diagnosis import Trouble, Verdict, Waiting, Warned

_QUIET = 3.0  # without anything new; then warnings are worth a request
_WARNINGS_EVERY = 5.0
_STEADY = 1.0  # what passes sooner is not worth an event
_RECOVERY = 120.0  # after the cluster was away, its nodes and controllers have to catch up before anything is certain


class Limits(NamedTuple):
    """Of a wait for which no cause can be named, in seconds; a set-up that runs is waited for beyond that."""

    longest: float = 300
    setup: float = 0
    final: bool = False  # whether it is not tried again


AT_CREATION = Limits()
IN_CHANGE = Limits(longest=90, setup=330, final=True)


class Patience:
    """Of one step, while it waits for one store; times in which the cluster was away do not count."""

    def __init__(self, limits: Limits = AT_CREATION, *, now: float | None = None) -> None:
        self._limits = limits
        self._excused = 0.0
        self.warnings: tuple[Warned, ...] = ()
        self._began = self._seen = self._new = time.monotonic() if now is None else now
        self._asked = 0.0
        self._text = ""
        self._code = ""
        self._since = 0.0

    def is_certain(
        self, trouble: Trouble, *, restored: float = -math.inf, now: float | None = None
    ) -> bool:
        """Whether it has lasted; `restored` is when the cluster came back the last time."""
        now = time.monotonic() if now is None else now
        if trouble.code != self._code:
            self._code, self._since = trouble.code, now
        if trouble.patience and now - restored < _RECOVERY:
            return False
        return now - self._since >= trouble.patience

    def note(self, verdict: Verdict, *, now: float | None = None) -> None:
        """Time goes by with this; raises TransientError when it was too much."""
        now = time.monotonic() if now is None else now
        self._seen = now
        text = verdict.cause if isinstance(verdict, Trouble) else verdict.text
        if isinstance(verdict, Waiting):
            self._code = ""
        if text != self._text:
            self._text, self._new = text, now
        if now - self._began > self._limits.longest:
            self._give_up(text)

    def _give_up(self, text: str) -> None:
        detail = f"Not ready after {self._limits.longest:.0f} s; it waits for {text}."
        if self._limits.final:
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

    def excuse(self, *, now: float | None = None) -> None:
        """A set-up runs, which has a limit of its own."""
        now = time.monotonic() if now is None else now
        if self._excused < self._limits.setup:
            self._excused += now - self._seen
            self._began += now - self._seen
            self._seen = now

    def is_steady(self, *, now: float | None = None) -> bool:
        """Whether it has waited for the same thing long enough to tell people."""
        return (time.monotonic() if now is None else now) - self._new >= _STEADY

    def pause(self, *, now: float | None = None) -> None:
        """The cluster is away: nothing can be blamed on the store."""
        now = time.monotonic() if now is None else now
        self._began += now - self._seen
        self._seen = now
        self._code = ""

    def wants_warnings(self, *, now: float | None = None) -> bool:
        """Whether nothing new was seen for a while, and they were not asked for just now."""
        now = time.monotonic() if now is None else now
        if now - self._new < _QUIET or now - self._asked < _WARNINGS_EVERY:
            return False
        self._asked = now
        return True

    def forget_warnings(self) -> None:
        self.warnings = ()
