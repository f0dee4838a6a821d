"""What a store's pods wrote: its log, and the last words of a container that failed, without any secret in them."""

import base64
import binascii
import re
from collections.abc import Iterable

from storefleet.core.errors import PermanentError
from storefleet.runtimes.kubernetes import manifests
from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.api_errors import Refused
from storefleet.runtimes.kubernetes.api.client import Cluster
from storefleet.runtimes.kubernetes.api.resource_kinds import Manifest
from storefleet.runtimes.kubernetes.readiness.diagnosis import Trouble

_ORDER = ("web", "setup", "database")
_PODS = 6
_LAST = 5
_LONGEST = 700
_SHORTEST_SECRET = 6
_WORDS = re.compile(
    r"(?i)((?:password|passwd|secret|token|authorization|cookie|api[_-]?key)\w*[\"']?\s*[:=]\s*[\"']?)([^\s\"',;&]+)"
)
_URL = re.compile(r"(\w+://[^\s:/@]+:)[^\s@/]+@")


class Lines:
    """Reads logs of pods."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def of_store(self, store_id: str, namespace: str, *, tail: int) -> list[str]:
        """The last lines, oldest first; those of the shop itself before those of set-up and database.

        While a version takes over from another there are two pods of the shop: the newer one's lines come last.
        """
        try:
            pods = await self._cluster.every(
                resource_kinds.POD, namespace=namespace, labels=f"{resource_kinds.STORE}={store_id}"
            )
            found: list[str] = []
            newest_first = sorted(
                pods,
                key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")),
                reverse=True,
            )
            for pod in sorted(newest_first, key=_rank)[:_PODS]:
                for container in pod["spec"]["containers"]:
                    if (room := tail - len(found)) <= 0:
                        return found
                    found = await self._read(namespace, pod, container["name"], room) + found
        except Refused as refused:
            if (
                refused.status != 403
            ):  # there is no namespace yet, or no longer, in which we might read
                raise
            return []
        return found

    async def _read(self, namespace: str, pod: Manifest, container: str, tail: int) -> list[str]:
        try:
            return await self._cluster.log(namespace, pod["metadata"]["name"], container, tail=tail)
        except Refused as refused:
            if refused.status != 400:  # the container has not begun
                raise
            return []

    async def last_words(self, namespace: str, pod: str, container: str) -> str:
        """In one line; empty when there are none, or they may not be read."""
        lines: list[str] = []
        for previous in (True, False):
            try:
                lines = await self._cluster.log(
                    namespace, pod, container, tail=_LAST, previous=previous
                )
            except PermanentError:
                continue
            if lines:
                break
        if not lines:
            return ""
        secrets = await self._secrets(namespace)
        return " | ".join(hidden(line.strip(), secrets) for line in lines if line.strip())[
            -_LONGEST:
        ]

    async def explained(self, namespace: str, trouble: Trouble) -> PermanentError:
        """The error for a trouble that is certain, with the last words of who is in it."""
        last = (
            await self.last_words(namespace, trouble.pod, trouble.container)
            if trouble.container
            else ""
        )
        detail = f"{trouble.cause} Last lines: {last}" if last else trouble.cause
        return PermanentError(trouble.code, detail, next_step=trouble.next_step)

    async def _secrets(self, namespace: str) -> set[str]:
        """Every value that must not be shown."""
        values = set()
        for name in (manifests.ADMIN_SECRET, manifests.STORE_SECRET):
            secret = await self._cluster.get(resource_kinds.SECRET, name, namespace=namespace)
            values |= {decoded(value) for value in ((secret or {}).get("data") or {}).values()}
        return values


def hidden(line: str, secrets: Iterable[str]) -> str:
    """The line without the values, and without what looks like one."""
    for value in sorted(secrets, key=len, reverse=True):
        if len(value) >= _SHORTEST_SECRET:
            line = line.replace(value, "(hidden)")
    return _URL.sub(r"\1(hidden)@", _WORDS.sub(r"\1(hidden)", line))


def decoded(value: str) -> str:
    """A value of a Secret as it is meant."""
    try:
        return base64.b64decode(value).decode()
    except (binascii.Error, UnicodeDecodeError):
        return value


def _rank(pod: Manifest) -> int:
    component = (pod["metadata"].get("labels") or {}).get(resource_kinds.COMPONENT, "")
    return _ORDER.index(component) if component in _ORDER else len(_ORDER)
