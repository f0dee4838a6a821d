"""Warnings that the cluster has noted about a store's objects."""

from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.client import KubernetesClient
from storefleet.runtimes.kubernetes.api.resource_kinds import Manifest
from storefleet.runtimes.kubernetes.readiness.diagnosis import WarningEvent

_MAX_EVENTS = 50


async def list_warning_events(client: KubernetesClient, namespace: str) -> tuple[WarningEvent, ...]:
    """The last ones, oldest first."""
    events = await client.list_objects(
        resource_kinds.EVENT, namespace=namespace, fields="type=Warning"
    )
    return tuple(
        _make_warning_event(each) for each in sorted(events, key=_read_event_time)[-_MAX_EVENTS:]
    )


def _make_warning_event(event: Manifest) -> WarningEvent:
    about = event.get("involvedObject") or {}
    message = " ".join(str(event.get("message") or "").split())[:400]
    return WarningEvent(
        about.get("kind", ""), about.get("name", ""), event.get("reason", ""), message
    )


def _read_event_time(event: Manifest) -> str:
    """When it happened last; events tell it in one of three places."""
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or ""
    )
