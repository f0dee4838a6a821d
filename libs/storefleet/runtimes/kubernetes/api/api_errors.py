"""What it means when the cluster, or Helm in its name, says no: our errors, with a reason and a next step."""

import re
from typing import NamedTuple

from storefleet.core.errors import (
    PermanentError,
    RuntimeAway,
    StorefleetError,
    TransientError,
    Wait,
)

_LONGEST = 500


class Refused(PermanentError):
    """The API server will not do it; `status` is what it answered."""

    def __init__(self, code: str, detail: str, *, next_step: str, status: int) -> None:
        super().__init__(code, detail, next_step=next_step)
        self.status = status


class _Rule(NamedTuple):
    pattern: re.Pattern[str]
    code: str
    next_step: str


def _rule(pattern: str, *, code: str, next_step: str) -> _Rule:
    return _Rule(re.compile(pattern), code, next_step)


_RULES = (
    _rule(
        r"exceeded quota|status unknown for quota|(maximum|minimum) \w+ usage per|must specify (limits|requests)\.",
        code="quota_exceeded",
        next_step="Give the engine's chart smaller resources and retry; or its plan more room, and make a new store.",
    ),
    _rule(
        r"violates PodSecurity",
        code="pod_refused",
        next_step="Make the chart's pods fit Pod Security “restricted”, then retry.",
    ),
    _rule(
        r"ValidatingAdmissionPolicy|admission webhook|denied the request",
        code="policy_refused",
        next_step="See which rule of the cluster is named, change chart or rule, then retry.",
    ),
    _rule(
        r"cannot \w+ (\w+ )?resource|attempting to grant RBAC permissions|is forbidden: User|Unauthorized",
        code="cluster_forbids",
        next_step="Give the platform's service account this permission (its chart does), then retry.",
    ),
    _rule(
        r"is invalid|failed to create typed patch|unknown field|error validating data|no matches for kind"
        r"|cannot be handled",
        code="manifest_invalid",
        next_step="Correct the engine's chart, then retry.",
    ),
)
_AWAY = re.compile(
    r"cluster unreachable|connection refused|connection reset|i/o timeout|TLS handshake|no route to host|unexpected EOF"
    r"|EOF$|etcdserver|the server is currently unable|context deadline exceeded|too many requests|Too Many Requests"
    r"|http2: |apiserver not ready|server is shutting down|no such host|Service Unavailable|InternalError|"
    r"an error on the server"
)


def answered(status: int, message: str, *, what: str) -> StorefleetError:
    """The error for an answer of the API server other than success."""
    text = _short(message)
    if status == 401:
        return RuntimeAway(f"The cluster does not accept the platform's credentials: {text}")
    if status == 429 or status >= 500:
        return RuntimeAway(f"The cluster answers {status}: {text}")
    if status == 404:
        return PermanentError(
            "namespace_missing", f"{what}: {text}.", next_step="Retry: its namespace is made anew."
        )
    if status == 409:
        return TransientError("cluster_conflict", f"{what}: {text}.", next_step="Retry.")
    return said(message, what=what, status=status) or Refused(
        "cluster_refused",
        f"{what}: the cluster answers {status}: {text}",
        next_step="See what it names, mend it, then retry.",
        status=status,
    )


def said(message: str, *, what: str, status: int = 403) -> StorefleetError | None:
    """The error behind words of the API server, wherever they were met; None for words that are not known."""
    if "being terminated" in message:
        return Wait(f"{what}: its namespace is still being removed.")
    for rule in _RULES:
        if rule.pattern.search(message):
            return Refused(
                rule.code, f"{what}: {_short(message)}", next_step=rule.next_step, status=status
            )
    return None


def away(message: str) -> RuntimeAway | None:
    """The error behind words that say that nobody answered; None for others."""
    if _AWAY.search(message):
        return RuntimeAway(f"The cluster's API server does not answer: {_short(message)}")
    return None


def _short(message: str) -> str:
    text = " ".join(message.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
