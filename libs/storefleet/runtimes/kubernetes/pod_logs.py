"""What a store's pods wrote: its log, and the last words of a container that failed, without any secret in them."""

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
from storefleet.runtimes.kubernetes.readiness.diagnosis import ReadinessProblem

_COMPONENT_ORDER = ("web", "setup", "database")
_MAX_PODS = 6
_TAIL_LINES = 5
_MAX_TAIL_LENGTH = 700
_MIN_SECRET_LENGTH = 6
_CREDENTIAL_PATTERN = re.compile(
    r"(?i)((?:password|passwd|secret|token|authorization|cookie|api[_-]?key)\w*[\"']?\s*[:=]\s*[\"']?)([^\s\"',;&]+)"
)
_URL_PASSWORD_PATTERN = re.compile(r"(\w+://[^\s:/@]+:)[^\s@/]+@")


class PodLogs:
    """Reads logs of pods."""

    def __init__(self, client: KubernetesClient) -> None:
        self._client = client

    async def read_store_log(self, store_id: str, namespace: str, *, tail_lines: int) -> list[str]:
        """The last lines, oldest first; those of the shop itself before those of set-up and database.

        While a version takes over from another there are two pods of the shop: the newer one's lines come last.
        """
        try:
            pods = await self._client.list_objects(
                resource_kinds.POD,
                namespace=namespace,
                labels=f"{resource_kinds.STORE_LABEL}={store_id}",
            )
            found: list[str] = []
            newest_first = sorted(
                pods,
                key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")),
                reverse=True,
            )
            for pod in sorted(newest_first, key=_rank_pod)[:_MAX_PODS]:
                for container in pod["spec"]["containers"]:
                    if (room := tail_lines - len(found)) <= 0:
                        return found
                    found = (
                        await self._read_container_log(namespace, pod, container["name"], room)
                        + found
                    )
        except ApiRequestRejected as refused:
            if (
                refused.status != 403
            ):  # there is no namespace yet, or no longer, in which we might read
                raise
            return []
        return found

    async def _read_container_log(
        self, namespace: str, pod: Manifest, container: str, tail_lines: int
    ) -> list[str]:
        try:
            return await self._client.read_log(
                namespace, pod["metadata"]["name"], container, tail_lines=tail_lines
            )
        except ApiRequestRejected as refused:
            if refused.status != 400:  # the container has not begun
                raise
            return []

    async def read_log_tail(self, namespace: str, pod: str, container: str) -> str:
        """In one line; empty when there are none, or they may not be read."""
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
        return " | ".join(redact_secrets(line.strip(), secrets) for line in lines if line.strip())[
            -_MAX_TAIL_LENGTH:
        ]

    async def make_problem_error(self, namespace: str, problem: ReadinessProblem) -> PermanentError:
        """The error for a trouble that is certain, with the last words of who is in it."""
        last = (
            await self.read_log_tail(namespace, problem.pod, problem.container)
            if problem.container
            else ""
        )
        detail = f"{problem.cause} Last lines: {last}" if last else problem.cause
        return PermanentError(problem.code, detail, next_step=problem.next_step)

    async def _read_secret_values(self, namespace: str) -> set[str]:
        """Every value that must not be shown."""
        values = set()
        for name in (manifests.ADMIN_SECRET, manifests.STORE_SECRET):
            secret = await self._client.get(resource_kinds.SECRET, name, namespace=namespace)
            values |= {
                decode_secret_value(value) for value in ((secret or {}).get("data") or {}).values()
            }
        return values


def redact_secrets(line: str, secrets: Iterable[str]) -> str:
    """The line without the values, and without what looks like one."""
    for value in sorted(secrets, key=len, reverse=True):
        if len(value) >= _MIN_SECRET_LENGTH:
            line = line.replace(value, "(hidden)")
    return _URL_PASSWORD_PATTERN.sub(r"\1(hidden)@", _CREDENTIAL_PATTERN.sub(r"\1(hidden)", line))


def decode_secret_value(value: str) -> str:
    """A value of a Secret as it is meant."""
    try:
        return base64.b64decode(value).decode()
    except (binascii.Error, UnicodeDecodeError):
        return value


def _rank_pod(pod: Manifest) -> int:
    component = (pod["metadata"].get("labels") or {}).get(resource_kinds.COMPONENT_LABEL, "")
    return (
        _COMPONENT_ORDER.index(component)
        if component in _COMPONENT_ORDER
        else len(_COMPONENT_ORDER)
    )
