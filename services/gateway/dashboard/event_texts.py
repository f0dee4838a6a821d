"""What happened to a store, in a sentence each."""

from collections.abc import Mapping
from typing import Any

from storefleet.core.models import Event

_TEXTS = {
    "store.requested": "Requested",
    "store.provisioning": "Provisioning began",
    "store.ready": "Ready",
    "store.upgrading": "Upgrade to {to} began",
    "store.upgraded": "Upgraded to {to}",
    "store.deleting": "Deletion requested",
    "store.deleted": "Deleted, nothing is left",
}
_DEFAULT_VERSIONS = {"from": "the version before", "to": "another version"}


def describe_event(event: Event) -> str:
    """For the list of what happened, and for people who do not see its icon."""
    operation = event.data.get("operation") or {}
    if event.type == "store.step":
        return _describe_step(operation.get("steps", [])) or _describe_queued_operation(operation)
    if event.type == "store.failed":
        failure = event.data["store"].get("failure") or {}
        return f"Failed: {failure.get('detail', 'no reason was given')}"
    if event.type in ("store.rolling_back", "store.rolled_back"):
        return _describe_rollback(operation, is_start=event.type == "store.rolling_back")
    if event.type == "store.ready" and operation.get("kind") in ("upgrade", "rollback"):
        return _describe_unchanged_store(operation)
    return _TEXTS.get(event.type, event.type).format(**_get_versions(operation))


def _describe_step(steps: list[Mapping[str, Any]]) -> str:
    done = [step for step in steps if step["state"] == "succeeded"]
    running = [step for step in steps if step["state"] == "running"]
    if running and running[0]["message"]:
        return f"{running[0]['title']}: {running[0]['message']}"
    if done:
        return f"{done[-1]['title']}: {done[-1]['message'] or 'done'}"
    if running:
        return str(running[0]["title"])
    return "Cancelled" if any(step["state"] == "cancelled" for step in steps) else ""


def _describe_queued_operation(operation: Mapping[str, Any]) -> str:
    """Nobody works on it yet."""
    asked = _get_versions(operation)
    kinds = {
        "upgrade": f"Upgrade to {asked['to']} requested",
        "rollback": f"Roll back to {asked['to']} requested",
    }
    return kinds.get(operation.get("kind", ""), "Waiting")


def _describe_rollback(operation: Mapping[str, Any], *, is_start: bool) -> str:
    """A roll back that a person asked for, or the way back of an upgrade that did not work."""
    asked = _get_versions(operation)
    if operation.get("kind") == "rollback":
        return f"Roll back to {asked['to']} began" if is_start else f"Rolled back to {asked['to']}"
    if is_start:
        return f"Going back to {asked['from']}: {_get_failure_detail(operation) or 'the upgrade did not work'}"
    return f"Back on {asked['from']}"


def _describe_unchanged_store(operation: Mapping[str, Any]) -> str:
    """An upgrade or a roll back that ended before it has changed anything."""
    what = "Not upgraded" if operation["kind"] == "upgrade" else "Not rolled back"
    return f"{what}: {_get_failure_detail(operation) or 'it was cancelled'}"


def _get_failure_detail(operation: Mapping[str, Any]) -> str:
    return str((operation.get("error") or {}).get("detail", ""))


def _get_versions(operation: Mapping[str, Any]) -> dict[str, str]:
    return {**_DEFAULT_VERSIONS, **(operation.get("input") or {})}
