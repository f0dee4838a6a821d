"""Warnings that the cluster has noted about a store's objects."""

from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.client import Cluster
from storefleet.runtimes.kubernetes.api.resource_kinds import Manifest
from storefleet.runtimes.kubernetes.readiness.diagnosis import Warned

_KEPT = 50


async def warned_of(cluster: Cluster, namespace: str) -> tuple[Warned, ...]:
    """The last ones, oldest first."""
    events = await cluster.every(resource_kinds.EVENT, namespace=namespace, fields="type=Warning")
    return tuple(_warned(each) for each in sorted(events, key=_when)[-_KEPT:])


def _warned(event: Manifest) -> Warned:
    about = event.get("involvedObject") or {}
    message = " ".join(str(event.get("message") or "").split())[:400]
    return Warned(about.get("kind", ""), about.get("name", ""), event.get("reason", ""), message)


def _when(event: Manifest) -> str:
    """When it happened last; events tell it in one of three places."""
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or ""
    )
