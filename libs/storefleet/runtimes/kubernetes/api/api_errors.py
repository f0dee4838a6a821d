"""Map errors of the Kubernetes API, and of Helm, to the platform's errors with a next step."""

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
    """The API server rejects a request; `status` is the HTTP status of its response."""

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
        r"exceeded quota|status unknown for quota|(maximum|minimum) \w+ usage per"
        r"|must specify (limits|requests)\.",
        code="quota_exceeded",
        next_step="Reduce the resources in the engine's chart, then retry. Or raise the engine's"
        " plan and create a new store.",
    ),
    _make_rule(
        r"violates PodSecurity",
        code="pod_refused",
        next_step="Change the chart's pods to comply with Pod Security “restricted”, then retry.",
    ),
    _make_rule(
        r"ValidatingAdmissionPolicy|admission webhook|denied the request",
        code="policy_refused",
        next_step="Change the chart or the named admission policy, then retry.",
    ),
    _make_rule(
        r"cannot \w+ (\w+ )?resource|attempting to grant RBAC permissions|is forbidden: User"
        r"|Unauthorized",
        code="cluster_permission_denied",
        next_step="Grant the platform's service account this permission (the platform's chart"
        " does), then retry.",
    ),
    _make_rule(
        r"is invalid|failed to create typed patch|unknown field|error validating data"
        r"|no matches for kind|cannot be handled|unable to decode |failed to convert new object"
        r"|error decoding YAML|request is too large|Request entity too large",
        code="manifest_invalid",
        next_step="Correct the engine's chart, then retry.",
    ),
)
_UNAVAILABLE_PATTERN = re.compile(
    r"cluster unreachable|connection refused|connection reset|i/o timeout|TLS handshake"
    r"|no route to host|unexpected EOF|EOF$|etcdserver(?!: request is too large)"
    r"|the server is currently unable"
    r"|context deadline exceeded|too many requests|Too Many Requests|http2: |apiserver not ready"
    r"|server is shutting down|no such host|Service Unavailable|InternalError"
    r"|an error on the server"
)


def map_api_response(status: int, message: str, *, subject: str) -> StorefleetError:
    """Map an unsuccessful response of the API server to an error.

    Args:
        status: HTTP status of the response, outside 200 to 299.
        message: The `message` of the response's Status object, or its raw body.
        subject: What failed, as the beginning of a sentence: "Applying the Secret x failed".

    Returns:
        `RuntimeUnavailable` for 401, 429 and 5xx, `TransientError` for a conflict, `Wait` while the
        namespace terminates, otherwise a `PermanentError`.
    """
    text = _shorten(message)
    if status == 401:
        return RuntimeUnavailable(f"The API server rejects the platform's credentials: {text}")
    if status == 429 or status >= 500:
        return RuntimeUnavailable(f"The API server responds with status {status}: {text}")
    if status == 404:
        return PermanentError(
            "namespace_missing",
            f"{subject}: {text}.",
            next_step="Retry: the operation recreates the namespace.",
        )
    if status == 409:
        return TransientError("cluster_conflict", f"{subject}: {text}.", next_step="Retry.")
    return map_rejection_message(message, subject=subject, status=status) or ApiRequestRejected(
        "cluster_refused",
        f"{subject}: the API server responds with status {status}: {text}",
        next_step="Correct what the message names, then retry.",
        status=status,
    )


def map_rejection_message(
    message: str, *, subject: str, status: int = 403
) -> StorefleetError | None:
    """Map a rejection message of the API server to an error, wherever the message was found.

    The same texts appear in responses, in conditions, in events and in the output of Helm.

    Args:
        message: Text of the API server.
        subject: What failed, as the beginning of a sentence.
        status: HTTP status for the error, where one is known.

    Returns:
        The error; None if no rule matches.
    """
    if "being terminated" in message:
        return Wait(f"{subject}: the namespace is still terminating.")
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
    """Return an error if a message means that the API server is unavailable, else None."""
    if _UNAVAILABLE_PATTERN.search(message):
        return RuntimeUnavailable(f"The API server does not respond: {_shorten(message)}")
    return None


def _shorten(message: str) -> str:
    text = " ".join(message.split())
    return text if len(text) <= _MAX_TEXT_LENGTH else text[: _MAX_TEXT_LENGTH - 1] + "…"
