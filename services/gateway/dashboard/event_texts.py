"""What happened to a store, in a sentence each."""

from collections.abc import Mapping
from typing import Any

from storefleet.core.models import Event

_SENTENCES = {
    "store.requested": "Requested",
    "store.provisioning": "Provisioning began",
    "store.ready": "Ready",
    "store.upgrading": "Upgrade to {to} began",
    "store.upgraded": "Upgraded to {to}",
    "store.deleting": "Deletion requested",
    "store.deleted": "Deleted, nothing is left",
}
_UNNAMED = {"from": "the version before", "to": "another version"}


def sentence(event: Event) -> str:
    """For the list of what happened, and for people who do not see its icon."""
    operation = event.data.get("operation") or {}
    if event.type == "store.step":
        return _step(operation.get("steps", [])) or _asked(operation)
    if event.type == "store.failed":
        failure = event.data["store"].get("failure") or {}
        return f"Failed: {failure.get('detail', 'no reason was given')}"
    if event.type in ("store.rolling_back", "store.rolled_back"):
        return _way_back(operation, began=event.type == "store.rolling_back")
    if event.type == "store.ready" and operation.get("kind") in ("upgrade", "rollback"):
        return _unchanged(operation)
    return _SENTENCES.get(event.type, event.type).format(**_versions(operation))


def _step(steps: list[Mapping[str, Any]]) -> str:
    done = [step for step in steps if step["state"] == "succeeded"]
    running = [step for step in steps if step["state"] == "running"]
    if running and running[0]["message"]:
        return f"{running[0]['title']}: {running[0]['message']}"
    if done:
        return f"{done[-1]['title']}: {done[-1]['message'] or 'done'}"
    if running:
        return str(running[0]["title"])
    return "Cancelled" if any(step["state"] == "cancelled" for step in steps) else ""


def _asked(operation: Mapping[str, Any]) -> str:
    """Nobody works on it yet."""
    asked = _versions(operation)
    kinds = {
        "upgrade": f"Upgrade to {asked['to']} requested",
        "rollback": f"Roll back to {asked['to']} requested",
    }
    return kinds.get(operation.get("kind", ""), "Waiting")


def _way_back(operation: Mapping[str, Any], *, began: bool) -> str:
    """A roll back that a person asked for, or the way back of an upgrade that did not work."""
    asked = _versions(operation)
    if operation.get("kind") == "rollback":
        return f"Roll back to {asked['to']} began" if began else f"Rolled back to {asked['to']}"
    if began:
        return f"Going back to {asked['from']}: {_cause(operation) or 'the upgrade did not work'}"
    return f"Back on {asked['from']}"


def _unchanged(operation: Mapping[str, Any]) -> str:
    """An upgrade or a roll back that ended before it has changed anything."""
    what = "Not upgraded" if operation["kind"] == "upgrade" else "Not rolled back"
    return f"{what}: {_cause(operation) or 'it was cancelled'}"


def _cause(operation: Mapping[str, Any]) -> str:
    return str((operation.get("error") or {}).get("detail", ""))


def _versions(operation: Mapping[str, Any]) -> dict[str, str]:
    return {**_UNNAMED, **(operation.get("input") or {})}
