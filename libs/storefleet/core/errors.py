"""Every failure that a person or a program can meet.

StorefleetError
├── RequestError                  answered to a caller as problem+json (RFC 9457)
│   ├── Unreadable 400 · Unauthenticated 401 · Forbidden 403 · NotFound 404
│   ├── Conflict 409              ── NameTaken
│   ├── TooLarge 413 · Invalid 422 · Limited 429
│   └── Unavailable 503           ── DatabaseAway · BusAway · RuntimeAway: a part we need is away
└── WorkError                     ends one run of an operation
    ├── PermanentError            the operation fails, with a reason a person can act on
    │   └── Unchanged             before anything was done: the store stays as it is
    ├── TransientError            again later, with backoff, up to the operation's deadline
    ├── Wait                      not now: looked at again soon, counts as no attempt
    ├── LeaseLost                 somebody else owns the operation now: change nothing more
    └── CancelRequested           a person took the operation back
"""

from collections.abc import Sequence
from typing import ClassVar


class StorefleetError(Exception):
    """The root of the tree."""


class RequestError(StorefleetError):
    """A request that is answered with a problem."""

    status: ClassVar[int] = 500
    code: str = "internal_error"
    title: ClassVar[str] = "Something went wrong"
    retryable: bool = False

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        errors: Sequence[tuple[str, str]] = (),
        retry_after: float | None = None,
    ) -> None:
        """Take the explanation, and `errors` as pairs of JSON pointer and explanation."""
        super().__init__(detail)
        self.detail = detail
        self.code = code or type(self).code
        self.errors = tuple(errors)
        self.retry_after = retry_after


class UnreadableRequest(RequestError):
    """The body or a header could not be read."""

    status, code, title = 400, "unreadable", "The request could not be read"


class Unauthenticated(RequestError):
    """Nobody is signed in, or the token is not valid."""

    status, code, title = 401, "unauthenticated", "Sign in first"


class Forbidden(RequestError):
    """Known, but not allowed."""

    status, code, title = 403, "forbidden", "This is not allowed"


class NotFound(RequestError):
    """Nothing of that name belongs to the caller."""

    status, code, title = 404, "not_found", "There is no such thing"


class Conflict(RequestError):
    """The resource's state does not allow this."""

    status, code, title = 409, "conflict", "Not in this state"


class NameTaken(Conflict):
    """A live store has this name."""

    code, title = "name_taken", "The name is taken"


class RequestTooLarge(RequestError):
    """More than 64 KiB."""

    status, code, title = 413, "too_large", "The request is too large"


class InvalidRequest(RequestError):
    """A field breaks a rule."""

    status, code, title = 422, "invalid", "Some fields need a correction"


class LimitExceeded(RequestError):
    """Too many, for now or altogether."""

    status, code, title, retryable = 429, "rate_limited", "Too many for now", True


class DependencyUnavailable(RequestError):
    """A part that the request needs does not answer."""

    status, code, title, retryable = 503, "unavailable", "Not available at the moment", True


class DatabaseUnavailable(DependencyUnavailable):
    """The database does not answer."""

    code = "database_away"


class PublishRejected(StorefleetError):
    """The bus will never take this message: it is too large for its stream."""


class MessagingUnavailable(DependencyUnavailable):
    """The message bus does not answer."""

    code = "bus_away"


class RuntimeUnavailable(DependencyUnavailable):
    """The place where stores run does not answer."""

    code = "runtime_away"


class WorkError(StorefleetError):
    """An end of one run of an operation, other than success."""


class _ExplainedError(WorkError):
    retryable: ClassVar[bool]

    def __init__(self, code: str, detail: str, *, next_step: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.next_step = next_step


class PermanentError(_ExplainedError):
    """Trying again would not help until somebody changes something."""

    retryable = True  # by a person, after the cause is gone


class NothingChanged(PermanentError):
    """The step found, before any effect of its operation, that it should not go on: the store stays as it is."""


class TransientError(_ExplainedError):
    """May pass by itself."""

    retryable = True


class Wait(WorkError):
    """Something that the step needs is away or busy; `delay` in seconds."""

    def __init__(self, reason: str, *, delay: float = 2.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.delay = delay


class LeaseLost(WorkError):
    """The row carries another fencing number by now."""


class CancelRequested(WorkError):
    """The operation's row asks its worker to stop."""
