"""Pod logs: a store's log, and the log tail of a failed container with secrets redacted."""

import base64
import binascii
import re
from collections.abc import Iterable

from storefleet.core.errors import PermanentError
from storefleet.runtimes.kubernetes import manifests
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.api_errors import ApiRequestRejected
from storefleet.runtimes.kubernetes.api.client import KubernetesClient
from storefleet.runtimes.kubernetes.api.resource_kinds import Manifest
from storefleet.runtimes.kubernetes.readiness.diagnosis_types import ReadinessProblem

_COMPONENT_ORDER = ("web", "setup", "database")
_MAX_PODS = 6
_TAIL_LINES = 5
_MAX_TAIL_LENGTH = 700
_MIN_SECRET_LENGTH = 6
_CREDENTIAL_PATTERN = re.compile(
    r"(?i)((?:password|passwd|secret|token|authorization|cookie|api[_-]?key)\w*[\"']?"
    r"\s*[:=]\s*[\"']?)([^\s\"',;&]+)"
)
_URL_PASSWORD_PATTERN = re.compile(r"(\w+://[^\s:/@]+:)[^\s@/]+@")


class PodLogs:
    """Reads the logs of stores' pods."""

    def __init__(self, client: KubernetesClient) -> None:
        self._client = client

    async def read_store_log(self, store_id: str, namespace: str, *, tail_lines: int) -> list[str]:
        """Read the last lines of a store's log, oldest first.

        During an upgrade the store has two web pods; the newer one's lines come last.

        Args:
            store_id: The store.
            namespace: Its namespace.
            tail_lines: Maximum number of lines. Lines of `web` take precedence over those of
                `setup` and `database`.

        Returns:
            The lines; empty if the namespace, and with it our role binding, does not exist.
        """
        selector = f"{resource_kinds.STORE_LABEL}={store_id}"
        try:
            pods = await self._client.list_objects(
                resource_kinds.POD, namespace=namespace, labels=selector
            )
            return await self._read_pods(namespace, _sort_pods(pods)[:_MAX_PODS], tail_lines)
        except ApiRequestRejected as rejected:
            if rejected.status != 403:  # 403: the namespace does not exist yet, or not any more
                raise
            return []

    async def _read_pods(
        self, namespace: str, pods: Iterable[Manifest], tail_lines: int
    ) -> list[str]:
        lines: list[str] = []
        for pod in pods:
            for container in pod["spec"]["containers"]:
                if (remaining := tail_lines - len(lines)) <= 0:
                    return lines
                older = await self._read_container_log(namespace, pod, container["name"], remaining)
                lines = older + lines
        return lines

    async def _read_container_log(
        self, namespace: str, pod: Manifest, container: str, tail_lines: int
    ) -> list[str]:
        try:
            return await self._client.read_log(
                namespace, pod["metadata"]["name"], container, tail_lines=tail_lines
            )
        except ApiRequestRejected as rejected:
            if rejected.status != 400:  # 400: the container has not started
                raise
            return []

    async def read_log_tail(self, namespace: str, pod: str, container: str) -> str:
        """Read the last lines of a container as one line, with secrets redacted.

        Returns:
            Up to 700 characters; empty if there is no log, or it may not be read.
        """
        lines: list[str] = []
        for previous in (True, False):
            try:
                lines = await self._client.read_log(
                    namespace, pod, container, tail_lines=_TAIL_LINES, previous=previous
                )
            except PermanentError:
                continue
            if lines:
                break
        if not lines:
            return ""
        secrets = await self._read_secret_values(namespace)
        redacted = [redact_secrets(line.strip(), secrets) for line in lines if line.strip()]
        return " | ".join(redacted)[-_MAX_TAIL_LENGTH:]

    async def make_problem_error(self, namespace: str, problem: ReadinessProblem) -> PermanentError:
        """Make the error for a readiness problem whose grace period is over, with a log tail."""
        tail = ""
        if problem.container:
            tail = await self.read_log_tail(namespace, problem.pod, problem.container)
        detail = f"{problem.cause} Last log lines: {tail}" if tail else problem.cause
        return PermanentError(problem.code, detail, next_step=problem.next_step)

    async def _read_secret_values(self, namespace: str) -> set[str]:
        values = set()
        for name in (manifests.ADMIN_SECRET, manifests.STORE_SECRET):
            secret = await self._client.get(resource_kinds.SECRET, name, namespace=namespace)
            data = (secret or {}).get("data") or {}
            values |= {decode_secret_value(value) for value in data.values()}
        return values


def redact_secrets(line: str, secrets: Iterable[str]) -> str:
    """Replace secret values, and whatever looks like a credential, by “(hidden)”.

    Args:
        line: A line of a log.
        secrets: Known secret values; those shorter than six characters are ignored.
    """
    for value in sorted(secrets, key=len, reverse=True):
        if len(value) >= _MIN_SECRET_LENGTH:
            line = line.replace(value, "(hidden)")
    line = _CREDENTIAL_PATTERN.sub(r"\1(hidden)", line)
    return _URL_PASSWORD_PATTERN.sub(r"\1(hidden)@", line)


def decode_secret_value(value: str) -> str:
    """Decode a Base64 value of a Secret; return it unchanged if it is not valid."""
    try:
        return base64.b64decode(value).decode()
    except (binascii.Error, UnicodeDecodeError):
        return value


def _sort_pods(pods: Iterable[Manifest]) -> list[Manifest]:
    """Sort by component, the newest pod of each first."""
    newest_first = sorted(
        pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True
    )
    return sorted(newest_first, key=_rank_pod)


def _rank_pod(pod: Manifest) -> int:
    component = (pod["metadata"].get("labels") or {}).get(resource_kinds.COMPONENT_LABEL, "")
    return (
        _COMPONENT_ORDER.index(component)
        if component in _COMPONENT_ORDER
        else len(_COMPONENT_ORDER)
    )
