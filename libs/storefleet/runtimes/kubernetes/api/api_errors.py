"""What it means when the cluster, or Helm in its name, says no: our errors, with a reason and a next step."""

import re
from typing import NamedTuple

from storefleet.core.errors import (
    PermanentError,
    RuntimeUnavailable,
    StorefleetError,
    TransientError,
    Wait,
)

_MAX_TEXT_LENGTH = 500


class ApiRequestRejected(PermanentError):
    """The API server will not do it; `status` is what it answered."""

    def __init__(self, code: str, detail: str, *, next_step: str, status: int) -> None:
        super().__init__(code, detail, next_step=next_step)
        self.status = status


class _RejectionRule(NamedTuple):
    pattern: re.Pattern[str]
    code: str
    next_step: str


def _make_rule(pattern: str, *, code: str, next_step: str) -> _RejectionRule:
    return _RejectionRule(re.compile(pattern), code, next_step)


_REJECTION_RULES = (
    _make_rule(
        r"exceeded quota|status unknown for quota|(maximum|minimum) \w+ usage per|must specify (limits|requests)\.",
        code="quota_exceeded",
        next_step="Give the engine's chart smaller resources and retry; or its plan more room, and make a new store.",
    ),
    _make_rule(
        r"violates PodSecurity",
        code="pod_refused",
        next_step="Make the chart's pods fit Pod Security “restricted”, then retry.",
    ),
    _make_rule(
        r"ValidatingAdmissionPolicy|admission webhook|denied the request",
        code="policy_refused",
        next_step="See which rule of the cluster is named, change chart or rule, then retry.",
    ),
    _make_rule(
        r"cannot \w+ (\w+ )?resource|attempting to grant RBAC permissions|is forbidden: User|Unauthorized",
        code="cluster_forbids",
        next_step="Give the platform's service account this permission (its chart does), then retry.",
    ),
    _make_rule(
        r"is invalid|failed to create typed patch|unknown field|error validating data|no matches for kind"
        r"|cannot be handled",
        code="manifest_invalid",
        next_step="Correct the engine's chart, then retry.",
    ),
)
_UNAVAILABLE_PATTERN = re.compile(
    r"cluster unreachable|connection refused|connection reset|i/o timeout|TLS handshake|no route to host|unexpected EOF"
    r"|EOF$|etcdserver|the server is currently unable|context deadline exceeded|too many requests|Too Many Requests"
    r"|http2: |apiserver not ready|server is shutting down|no such host|Service Unavailable|InternalError|"
    r"an error on the server"
)


def map_api_response(status: int, message: str, *, subject: str) -> StorefleetError:
    """The error for an answer of the API server other than success."""
    text = _shorten(message)
    if status == 401:
        return RuntimeUnavailable(f"The cluster does not accept the platform's credentials: {text}")
    if status == 429 or status >= 500:
        return RuntimeUnavailable(f"The cluster answers {status}: {text}")
    if status == 404:
        return PermanentError(
            "namespace_missing",
            f"{subject}: {text}.",
            next_step="Retry: its namespace is made anew.",
        )
    if status == 409:
        return TransientError("cluster_conflict", f"{subject}: {text}.", next_step="Retry.")
    return map_rejection_message(message, subject=subject, status=status) or ApiRequestRejected(
        "cluster_refused",
        f"{subject}: the cluster answers {status}: {text}",
        next_step="See what it names, mend it, then retry.",
        status=status,
    )


def map_rejection_message(
    message: str, *, subject: str, status: int = 403
) -> StorefleetError | None:
    """The error behind words of the API server, wherever they were met; None for words that are not known."""
    if "being terminated" in message:
        return Wait(f"{subject}: its namespace is still being removed.")
    for rule in _REJECTION_RULES:
        if rule.pattern.search(message):
            return ApiRequestRejected(
                rule.code,
                f"{subject}: {_shorten(message)}",
                next_step=rule.next_step,
                status=status,
            )
    return None


def map_unavailable_message(message: str) -> RuntimeUnavailable | None:
    """The error behind words that say that nobody answered; None for others."""
    if _UNAVAILABLE_PATTERN.search(message):
        return RuntimeUnavailable(f"The cluster's API server does not answer: {_shorten(message)}")
    return None


def _shorten(message: str) -> str:
    text = " ".join(message.split())
    return text if len(text) <= _MAX_TEXT_LENGTH else text[: _MAX_TEXT_LENGTH - 1] + "…"
