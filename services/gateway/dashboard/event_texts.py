"""Describe events of a store in one sentence, for the activity list and for screen readers."""

from collections.abc import Mapping
from typing import Any

from storefleet.core.models import Event
from storefleet.core.observed import CRON_TEXTS, STOREFRONT_TEXTS

_TEXTS = {
    "store.requested": "Requested",
    "store.provisioning": "Provisioning started",
    "store.ready": "Ready",
    "store.upgrading": "Upgrade to {to} started",
    "store.upgraded": "Upgraded to {to}",
    "store.deleting": "Deletion requested",
    "store.deleted": "Deleted",
}
_DEFAULT_VERSIONS = {"from": "the previous version", "to": "another version"}


def describe_event(event: Event) -> str:
    """Describe an event; an unknown type is described by its name."""
    operation = event.data.get("operation") or {}
    if event.type == "store.step":
        return _describe_step(operation.get("steps", [])) or _describe_queued_operation(operation)
    if event.type == "store.failed":
        return _describe_failure(event)
    if event.type == "store.observed":
        return _describe_observation(event)
    if event.type in ("store.rolling_back", "store.rolled_back"):
        return _describe_rollback(operation, is_start=event.type == "store.rolling_back")
    if event.type == "store.ready" and operation.get("kind") in ("upgrade", "rollback"):
        return _describe_unchanged_store(operation)
    return _TEXTS.get(event.type, event.type).format(**_get_versions(operation))


def is_cancellation(event: Event) -> bool:
    """Return whether the event reports a failure that is a cancellation by a person."""
    return event.type == "store.failed" and _get_failure(event).get("code") == "cancelled"


def _describe_failure(event: Event) -> str:
    if is_cancellation(event):
        return "Cancelled"
    return f"Failed: {_get_failure(event).get('detail', 'no reason was recorded')}"


def _describe_observation(event: Event) -> str:
    """Describe the storefront, and the scheduled tasks if the engine has any."""
    observed = (event.data.get("store") or {}).get("observed") or {}
    storefront = STOREFRONT_TEXTS.get(observed.get("storefront", ""))
    cron = CRON_TEXTS.get(observed.get("cron", ""))
    parts = [f"Storefront: {storefront.label.lower()}"] if storefront else []
    parts += [f"scheduled tasks: {cron.label.lower()}"] if cron else []
    text = "; ".join(parts) or "Storefront not checked yet"
    return text[0].upper() + text[1:]


def _get_failure(event: Event) -> Mapping[str, Any]:
    return (event.data.get("store") or {}).get("failure") or {}


def _describe_step(steps: list[Mapping[str, Any]]) -> str:
    done = [step for step in steps if step["state"] == "succeeded"]
    running = [step for step in steps if step["state"] == "running"]
    if running and running[0]["message"]:
        return f"{running[0]['title']}: {running[0]['message']}"
    if done:
        return f"{done[-1]['title']}: {done[-1]['message'] or 'done'}"
    if running:
        return f"{running[0]['title']}: started"
    return "Cancelled" if any(step["state"] == "cancelled" for step in steps) else ""


def _describe_queued_operation(operation: Mapping[str, Any]) -> str:
    versions = _get_versions(operation)
    texts = {
        "upgrade": f"Upgrade to {versions['to']} requested",
        "rollback": f"Rollback to {versions['to']} requested",
    }
    return texts.get(operation.get("kind", ""), "Queued")


def _describe_rollback(operation: Mapping[str, Any], *, is_start: bool) -> str:
    """Describe a requested rollback, or the automatic rollback of a failed upgrade."""
    versions = _get_versions(operation)
    if operation.get("kind") == "rollback":
        if is_start:
            return f"Rollback to {versions['to']} started"
        return f"Rolled back to {versions['to']}"
    if is_start:
        cause = _get_failure_detail(operation) or "the upgrade failed"
        return f"Rolling back to {versions['from']}: {cause}"
    return f"Rolled back to {versions['from']}"


def _describe_unchanged_store(operation: Mapping[str, Any]) -> str:
    """Describe an upgrade or a rollback that ended before it changed the store."""
    outcome = "Not upgraded" if operation["kind"] == "upgrade" else "Not rolled back"
    return f"{outcome}: {_get_failure_detail(operation) or 'cancelled'}"


def _get_failure_detail(operation: Mapping[str, Any]) -> str:
    return str((operation.get("error") or {}).get("detail", ""))


def _get_versions(operation: Mapping[str, Any]) -> dict[str, str]:
    return {**_DEFAULT_VERSIONS, **(operation.get("input") or {})}
