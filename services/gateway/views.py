"""What the templates draw: domain objects as plain view data."""

import math
from collections.abc import Mapping
from typing import Any

from storefleet.models import Caller, Event, Operation, Store, timestamp

_SENTENCES = {
    "store.requested": "Requested",
    "store.provisioning": "Provisioning began",
    "store.ready": "Ready",
    "store.deleting": "Deletion requested",
    "store.deleted": "Deleted, nothing is left",
}


def me(caller: Caller) -> dict[str, Any]:
    return {
        "email": caller.email,
        "tenant": caller.tenant_id,
        "tenant_name": caller.tenant_name,
        "operator": caller.operator,
    }


def store(store: Store, operation: Operation | None) -> dict[str, Any]:
    return {**store.to_json(), "operation": operation.to_json() if operation else None}


def operation(operation: Operation | None) -> dict[str, Any] | None:
    return operation.to_json() if operation else None


def event(event: Event) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "type": event.type,
        "time": timestamp(event.time),
        "data": event.data,
        "summary": _summary(event),
    }


def _summary(event: Event) -> str:
    if event.type == "store.failed":
        failure = event.data["store"].get("failure") or {}
        return f"Failed: {failure.get('detail', 'no reason was given')}"
    if event.type != "store.step":
        return str(_SENTENCES.get(event.type, event.type))
    steps = event.data.get("operation", {}).get("steps", [])
    done = [step for step in steps if step["state"] == "succeeded"]
    running = [step for step in steps if step["state"] == "running"]
    if running and running[0]["message"]:
        return f"{running[0]['title']}: {running[0]['message']}"
    if done:
        return f"{done[-1]['title']}: {done[-1]['message'] or 'done'}"
    if running:
        return str(running[0]["title"])
    return "Cancelled" if any(step["state"] == "cancelled" for step in steps) else "Waiting"


def form_parameters(form: Mapping[str, Any], engine: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The engine's parameters from form fields named `parameters.<engine>.<property>`; empty ones are left out."""
    found: dict[str, Any] = {}
    for name, rule in schema.get("properties", {}).items():
        value = form.get(f"parameters.{engine}.{name}")
        if rule.get("type") == "boolean":  # a box that is not ticked is not sent
            found[name] = value in ("true", "on")
        elif isinstance(value, str) and value.strip():
            found[name] = _typed(value.strip(), rule.get("type"))
    return found


def _typed(text: str, kind: str | None) -> Any:
    """What the field means; text that does not fit is left for the schema to refuse."""
    try:
        if kind == "integer":
            return int(text)
        if kind == "number" and math.isfinite(value := float(text)):
            return value
    except ValueError:
        return text
    return text
