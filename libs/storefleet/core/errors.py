"""The platform's errors, as one tree.

StorefleetError
├── RequestError                  answered as problem+json (RFC 9457)
│   ├── UnreadableRequest 400 · Unauthenticated 401 · Forbidden 403 · NotFound 404
│   ├── Conflict 409              ── NameTaken
│   ├── RequestTooLarge 413 · InvalidRequest 422 · LimitExceeded 429
│   ├── StoreAnswerInvalid 502
│   └── DependencyUnavailable 503 ── DatabaseUnavailable · MessagingUnavailable ·
│       (in a step: a wait)          RuntimeUnavailable · StoreMailUnavailable
├── PublishRejected               NATS will never accept this message
└── WorkError                     ends an operation run without success
    ├── PermanentError            the operation fails, with a reason and a next step
    │   └── NothingChanged        before its first effect, so the store is unchanged
    ├── TransientError            retried with backoff until the operation's deadline
    ├── Wait                      rescheduled soon, without consuming an attempt
    ├── LeaseLost                 another worker owns the operation: write nothing more
    └── CancelRequested           a person requested the cancellation
"""

from collections.abc import Sequence
from typing import ClassVar


class StorefleetError(Exception):
    """Base class of every error of the platform."""


class RequestError(StorefleetError):
    """A request that is answered with a problem document.

    Attributes:
        status: The HTTP status.
        code: The machine-readable code of the problem.
        title: The short text of the problem, the same for every occurrence.
        retryable: Whether the same request may succeed later.
    """

    status: ClassVar[int] = 500
    code: str = "internal_error"
    title: ClassVar[str] = "Internal error"
    retryable: bool = False

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        errors: Sequence[tuple[str, str]] = (),
        retry_after: float | None = None,
    ) -> None:
        """Describe what happened.

        Args:
            detail: What happened, why, and what to do.
            code: A more specific code than that of the class.
            errors: Pairs of a JSON pointer into the body and an explanation.
            retry_after: Seconds after which a retry makes sense.
        """
        super().__init__(detail)
        self.detail = detail
        self.code = code or type(self).code
        self.errors = tuple(errors)
        self.retry_after = retry_after


class UnreadableRequest(RequestError):
    """The body or a header cannot be parsed."""

    status, code, title = 400, "unreadable", "The request cannot be read"


class Unauthenticated(RequestError):
    """The request carries no valid session or token."""

    status, code, title = 401, "unauthenticated", "Sign in first"


class Forbidden(RequestError):
    """The principal lacks the permission."""

    status, code, title = 403, "forbidden", "This is not allowed"


class NotFound(RequestError):
    """The tenant has no such object."""

    status, code, title = 404, "not_found", "Not found"


class Conflict(RequestError):
    """The state of the object does not allow this."""

    status, code, title = 409, "conflict", "Not possible in this state"


class NameTaken(Conflict):
    """A live store has this name."""

    code, title = "name_taken", "The name is taken"


class RequestTooLarge(RequestError):
    """The body exceeds the limit, 64 KiB unless configured otherwise."""

    status, code, title = 413, "too_large", "The request is too large"


class InvalidRequest(RequestError):
    """A field breaks a rule."""

    status, code, title = 422, "invalid", "Some fields need a correction"


class LimitExceeded(RequestError):
    """A rate limit or a quota is exhausted."""

    status, code, title, retryable = 429, "rate_limited", "A limit is reached", True


class StoreAnswerInvalid(RequestError):
    """A store answers the platform with something else than its mails."""

    status, code, title = 502, "store_mail_unavailable", "The store's mails cannot be read"


class DependencyUnavailable(RequestError):
    """A service that the request needs does not answer."""

    status, code, title, retryable = 503, "unavailable", "Not available at the moment", True


class DatabaseUnavailable(DependencyUnavailable):
    """PostgreSQL does not answer."""

    code = "database_unavailable"


class MessagingUnavailable(DependencyUnavailable):
    """NATS does not answer."""

    code = "messaging_unavailable"


class RuntimeUnavailable(DependencyUnavailable):
    """The system where stores run does not answer."""

    code = "runtime_unavailable"


class StoreMailUnavailable(DependencyUnavailable):
    """A store does not answer when the platform reads its mails."""

    code = "store_mail_unavailable"


class PublishRejected(StorefleetError):
    """NATS will never accept this message: it is too large for its stream."""


class WorkError(StorefleetError):
    """An operation run ends without success."""


class _ExplainedError(WorkError):
    def __init__(self, code: str, detail: str, *, next_step: str) -> None:
        """Describe the failure.

        Args:
            code: The machine-readable code.
            detail: What happened and why.
            next_step: What a person can do about it.
        """
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.next_step = next_step


class PermanentError(_ExplainedError):
    """The operation fails; a retry helps only after a person has removed the cause."""


class NothingChanged(PermanentError):
    """A step stops before the operation's first external effect: the store stays as it is."""


class TransientError(_ExplainedError):
    """The cause may pass by itself; the step is retried with backoff."""


class Wait(WorkError):
    """A dependency is unavailable or busy.

    The step is rescheduled after `delay` seconds without consuming an attempt.
    """

    def __init__(self, reason: str, *, delay: float = 2.0) -> None:
        """Describe the wait.

        Args:
            reason: The status message that the store shows until the step runs again.
            delay: Seconds until then.
        """
        super().__init__(reason)
        self.reason = reason
        self.delay = delay


class LeaseLost(WorkError):
    """The operation's row has a newer fence: another worker owns the operation."""


class CancelRequested(WorkError):
    """A person requested the cancellation of the running operation."""
