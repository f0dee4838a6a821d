"""The exceptions that end a command, each with its exit status.

Every error carries a sentence for people, a stable code for scripts and the next step. `main`
prints them; nothing else catches them. The exit statuses follow `gh`:

CliError 1
├── ApiProblem 1           the API returned a problem (401 and 403: AccessDenied 4)
├── ServiceUnreachable 1   the gateway or the notifier does not answer
├── UsageError 2           the command line or a setting is invalid
├── OperationFailed 3      the operation failed or was cancelled
├── AccessDenied 4         credentials are missing or not sufficient
├── TimedOut 5             the wait ended before the operation did
└── Interrupted 130        Ctrl-C
"""

from collections.abc import Sequence
from typing import ClassVar

from storefleet.core.errors import StorefleetError


class CliError(StorefleetError):
    """End the command with `exit_code` after its text was printed.

    Args:
        detail: What happened and why, as a sentence.
        code: Stable name of the error, as documented in docs/operations.md.
        next_step: What to do now, usually a command.
        request_id: The request to look for in the services' logs.
        errors: Field errors as pairs of JSON pointer and text.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        detail: str,
        *,
        code: str,
        next_step: str,
        request_id: str | None = None,
        errors: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code
        self.next_step = next_step
        self.request_id = request_id
        self.errors = tuple(errors)

    def format_lines(self) -> list[str]:
        """Return the lines for standard error, one fact per line and each once."""
        lines = [f"error: {' '.join(self.detail.split())}"]
        lines += [
            f"  {pointer or '/'}: {detail}"
            for pointer, detail in dict.fromkeys(self.errors)
            if detail not in self.detail
        ]
        lines += [f"code: {self.code}", f"next: {self.next_step}"]
        if self.request_id:
            lines.append(f"request: {self.request_id}")
        return lines


class ApiProblem(CliError):
    """The API rejected the request with problem details (RFC 9457)."""

    def __init__(
        self,
        detail: str,
        *,
        code: str,
        next_step: str,
        status: int,
        request_id: str | None = None,
        errors: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(
            detail, code=code, next_step=next_step, request_id=request_id, errors=errors
        )
        self.status = status


class ServiceUnreachable(CliError):
    """The gateway or the notifier does not answer."""


class UsageError(CliError):
    """The command line or a setting is invalid."""

    exit_code = 2

    def __init__(self, detail: str, *, next_step: str, code: str = "usage") -> None:
        super().__init__(detail, code=code, next_step=next_step)


class OperationFailed(CliError):
    """The operation failed or was cancelled."""

    exit_code = 3


class AccessDenied(ApiProblem):
    """The token is missing, invalid or lacks a permission."""

    exit_code = 4


class TimedOut(CliError):
    """The wait ended before the operation did; the operation continues."""

    exit_code = 5


class Interrupted(CliError):
    """The user pressed Ctrl-C: what was asked for, so it is not shown as an error."""

    exit_code = 130

    def format_lines(self) -> list[str]:
        """Return the lines for standard error: what continues, and how to go on."""
        return [" ".join(self.detail.split()), f"next: {self.next_step}"]


_NEXT_STEPS = {
    "unauthenticated": "check STOREFLEET_TOKEN (or --token); "
    "the token of a local platform is in .storefleet/admin.json",
    "scope_missing": "use a token with that scope: storefleet tokens create NAME --scope SCOPE",
    "name_taken": "choose another name, or find the existing store: storefleet stores list",
    "stores_per_tenant": "delete a store: storefleet stores list",
    "not_failed": "storefleet stores get {ref}",
    "no_credentials": "storefleet stores get {ref}",
    "no_mail_outbox": "storefleet stores get {ref}",
    "store_mail_unavailable": "storefleet stores logs {ref}",
    "already_replayed": "storefleet dead-letters show {ref}",
    "not_cancellable": "storefleet operations watch {ref}",
    "idempotency_key_reused": "use another --idempotency-key, or omit the option",
}
_NEXT_STEPS_BY_STATUS = {
    403: "use a token whose owner has this permission",
    404: "storefleet {noun} list",
    409: "check its state: storefleet {noun} list",
    413: "send a smaller request",
    422: "correct the values above and try again",
    503: "try again in a few seconds; `storefleet status` shows what is unavailable",
}


def find_next_step(
    code: str, status: int, *, path: str = "/stores", retry_after_s: float | None = None
) -> str:
    """Find the advice for a problem that the API returned.

    Args:
        code: The problem's code.
        status: The HTTP status.
        path: The requested path below `/api/v1`; its first segments fill the advice.
        retry_after_s: The value of `Retry-After`, in seconds.

    Returns:
        A command or a short instruction, without a full stop.
    """
    _, noun, *rest = path.split("/")
    if status == 429 and code != "stores_per_tenant":
        return f"try again in {retry_after_s or 1:.0f} s"
    by_code = _NEXT_STEPS.get("unauthenticated" if status == 401 else code)
    step = by_code or _NEXT_STEPS_BY_STATUS.get(status)
    if step is None and status >= 500:
        step = "search the services' logs for the request id, then try again"
    return (step or "correct the command; --help shows its usage").format(
        noun=noun, ref=rest[0] if rest else ""
    )
