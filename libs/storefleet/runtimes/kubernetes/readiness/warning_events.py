"""Warning events of a store's namespace, read from the API server on demand."""

from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.client import KubernetesClient
from storefleet.runtimes.kubernetes.api.resource_kinds import Manifest
from storefleet.runtimes.kubernetes.readiness.diagnosis_types import WarningEvent

_MAX_EVENTS = 50
_MAX_MESSAGE_LENGTH = 400


async def list_warning_events(client: KubernetesClient, namespace: str) -> tuple[WarningEvent, ...]:
    """List the 50 newest warning events of a namespace, oldest first."""
    events = await client.list_objects(
        resource_kinds.EVENT, namespace=namespace, fields="type=Warning"
    )
    newest = sorted(events, key=_read_event_time)[-_MAX_EVENTS:]
    return tuple(_make_warning_event(each) for each in newest)


def _make_warning_event(event: Manifest) -> WarningEvent:
    involved = event.get("involvedObject") or {}
    message = " ".join(str(event.get("message") or "").split())[:_MAX_MESSAGE_LENGTH]
    return WarningEvent(
        involved.get("kind", ""), involved.get("name", ""), event.get("reason", ""), message
    )


def _read_event_time(event: Manifest) -> str:
    """Return the time of the last occurrence; events contain it in one of three fields."""
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return str(next((time for time in times if time), ""))
