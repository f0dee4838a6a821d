"""What ends a command other than success: a line for a person, a code and an exit status for a script.

CliError 1
├── Problem 1        the API refused (401 and 403: NotAllowed 4)
├── Unreachable 1    nothing answered
├── WrongUse 2       the command line or a setting makes no sense
├── OperationFailed 3
├── NotAllowed 4     no credentials, or not good enough
├── TimedOut 5       the work goes on, the waiting does not
└── Interrupted 130
"""

from collections.abc import Sequence
from typing import ClassVar

from storefleet.core.errors import StorefleetError


class CliError(StorefleetError):
    """Ends the command with `exit_code`, having told what to do next."""

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
        """What goes to standard error, one fact a line."""
        lines = [f"error: {' '.join(self.detail.split())}"]
        lines += [f"  {pointer or '/'}: {detail}" for pointer, detail in self.errors]
        lines += [f"code: {self.code}", f"next: {self.next_step}"]
        if self.request_id:
            lines.append(f"request: {self.request_id}")
        return lines


class ApiProblem(CliError):
    """The API's refusal (RFC 9457)."""

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
    """Something that the person has to write differently."""

    exit_code = 2

    def __init__(self, detail: str, *, next_step: str, code: str = "usage") -> None:
        super().__init__(detail, code=code, next_step=next_step)


class OperationFailed(CliError):
    """The work has ended, and not well."""

    exit_code = 3


class AccessDenied(ApiProblem):
    """No token, a wrong one, or one that may not do this."""

    exit_code = 4


class TimedOut(CliError):
    """The end was not seen in time."""

    exit_code = 5


class Interrupted(CliError):
    """Ctrl-C."""

    exit_code = 130


_NEXT_STEPS = {
    "unauthenticated": "check STOREFLEET_TOKEN (or --token); the local platform's own is in .storefleet/admin.json",
    "scope_missing": "use a token with that scope: storefleet tokens create NAME --scope SCOPE",
    "name_taken": "choose another name, or look at the one that has it: storefleet stores list",
    "stores_per_tenant": "delete a store: storefleet stores list",
    "not_failed": "storefleet stores get {ref}",
    "no_credentials": "storefleet stores get {ref}",
    "already_replayed": "storefleet dead-letters show {ref}",
    "not_cancellable": "storefleet operations watch {ref}",
    "idempotency_key_reused": "take another --idempotency-key, or leave it out",
}
_NEXT_STEPS_BY_STATUS = {
    403: "use a token whose owner may do this",
    404: "storefleet {noun} list",
    409: "look at its state first: storefleet {noun} list",
    413: "send less at once",
    422: "correct what is named above and try again",
    503: "try again in a few seconds; `storefleet status` shows what is away",
}


def find_next_step(
    code: str, status: int, *, path: str = "/stores", retry_after_s: float | None = None
) -> str:
    """What a person can do about a problem of the API; `path` is what was asked for."""
    _, noun, *rest = path.split("/")
    if status == 429 and code != "stores_per_tenant":
        return f"try again in {retry_after_s or 1:.0f} s"
    step = _NEXT_STEPS.get(
        "unauthenticated" if status == 401 else code
    ) or _NEXT_STEPS_BY_STATUS.get(status)
    if step is None and status >= 500:
        step = "look for the request id in the services' logs, then try again"
    return (step or "correct the command; --help shows how it is used").format(
        noun=noun, ref=rest[0] if rest else ""
    )
