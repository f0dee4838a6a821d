"""What the templates draw: domain objects as plain view data."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from storefleet.engines import Engine, Version
from storefleet.models import Caller, Event, Operation, Step, Store, timestamp
from storefleet.runtimes.base import Use

_SENTENCES = {
    "store.requested": "Requested",
    "store.provisioning": "Provisioning began",
    "store.ready": "Ready",
    "store.deleting": "Deletion requested",
    "store.deleted": "Deleted, nothing is left",
    "store.upgrading": "Upgrade to {to} began",
    "store.upgraded": "Upgraded to {to}",
}

#: What a cluster calls the things that it counts.
_RESOURCES = {
    "requests.cpu": "CPU, reserved",
    "limits.cpu": "CPU, at most",
    "requests.memory": "memory, reserved",
    "limits.memory": "memory, at most",
    "requests.storage": "storage",
    "persistentvolumeclaims": "volumes",
}


def me(caller: Caller) -> dict[str, Any]:
    return {
        "email": caller.email,
        "tenant": caller.tenant_id,
        "tenant_name": caller.tenant_name,
        "operator": caller.operator,
    }


def store(store: Store, operation: Operation | None) -> dict[str, Any]:
    return {**store.to_json(), "operation": _operation(operation) if operation else None}


def operation(operation: Operation | None) -> dict[str, Any] | None:
    return _operation(operation) if operation else None


def _operation(operation: Operation) -> dict[str, Any]:
    """With its place among the steps that it goes through; on a way back, the rest of the way there is skipped."""
    back = any(_leads_back(step) for step in operation.steps)
    returning = back or (operation.error is not None and not operation.done)
    steps = [
        {
            **step.to_json(),
            "state": "skipped" if back and step.state == "pending" and not _leads_back(step) else step.state,
        }
        for step in operation.steps
    ]
    walked = [step["state"] for step in steps if step["state"] != "skipped"]
    return {
        **operation.to_json(),
        "steps": steps,
        "returning": returning,
        "position": _position(walked, back=back),
        "total": len(walked),
    }


def _leads_back(step: Step) -> bool:
    return step.name.startswith("return-")


def _position(states: list[str], *, back: bool) -> int:
    """Which step runs, or was the last one to, counted from one."""
    for number, state in enumerate(states, start=1):
        if state == "running" or (state in ("failed", "cancelled") and not back):
            return number
    return min(sum(state != "pending" for state in states) + 1, len(states))


def versions(store: Store, engine: Engine | None, *, way_back: Operation | None, why_not: str | None) -> dict[str, Any]:
    """The version that the store has, those it can go to, newest first, and the one it can go back to."""
    known = engine.versions if engine else ()
    others = sorted((v for v in known if v.version != store.engine_version), key=_age, reverse=True)
    here = _sort_key(store.engine_version)
    return {
        "current": _version(known, store.engine_version),
        "others": [{**_version(known, v.version), "older": _age(v) < here} for v in others],
        "back": way_back
        and {
            **_version(known, way_back.input["from"]),
            "saved_at": timestamp(way_back.started_at),
        },
        "possible": why_not is None,
        "why_not": why_not,
    }


def _version(known: Iterable[Version], version: str) -> dict[str, Any]:
    return {"version": version, "notes": next((v.notes for v in known if v.version == version), "")}


def _age(version: Version) -> list[int]:
    return _sort_key(version.version)


def _sort_key(version: str) -> list[int]:
    """Versions count by their numbers, whatever stands between those."""
    return [int(number) for number in re.findall(r"\d{1,9}", version)]


def use(use: Use) -> dict[str, Any]:
    known = _RESOURCES.get(use.name, use.name)
    return {**use._asdict(), "title": known[:1].upper() + known[1:]}


def history_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """One line of the store's history, with a sentence for what was done."""
    return {**entry, "what": _done(entry), "who": (entry["by"] or {}).get("name") or "the platform"}


def _done(entry: Mapping[str, Any]) -> str:
    origin, target = entry.get("from"), entry.get("to")
    if entry["kind"] == "upgrade":
        return f"Upgrade {origin} → {target}"
    if entry["kind"] == "rollback":
        return f"Roll back {origin} → {target}, {'with the saved database' if entry.get('restore') else 'program only'}"
    if entry["kind"] == "create":
        made = f"Create with {target}" if target else "Create"
        return f"{made}, plan {entry['plan']}" if entry.get("plan") else made
    return str(entry["kind"]).capitalize()


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
    operation = event.data.get("operation") or {}
    if event.type in ("store.rolling_back", "store.rolled_back"):
        return _way_back(event.type, operation)
    if event.type != "store.step":
        versions = {"to": "another version", **(operation.get("input") or {})}
        return _SENTENCES.get(event.type, event.type).format(**versions)
    steps = operation.get("steps", [])
    done = [step for step in steps if step["state"] == "succeeded"]
    running = [step for step in steps if step["state"] == "running"]
    if running and running[0]["message"]:
        return f"{running[0]['title']}: {running[0]['message']}"
    if done:
        return f"{done[-1]['title']}: {done[-1]['message'] or 'done'}"
    if running:
        return str(running[0]["title"])
    return "Cancelled" if any(step["state"] == "cancelled" for step in steps) else "Waiting"


def _way_back(event_type: str, operation: Mapping[str, Any]) -> str:
    """A roll back that a person asked for, or the way back of an upgrade that did not work."""
    asked = {"from": "the version before", "to": "the version before", **(operation.get("input") or {})}
    cause = (operation.get("error") or {}).get("detail", "")
    began = event_type == "store.rolling_back"
    if operation.get("kind") == "rollback":
        if operation.get("state") == "failed":
            return f"Not rolled back: {cause}"
        return f"Roll back to {asked['to']} began" if began else f"Rolled back to {asked['to']}"
    if began:
        return f"Going back to {asked['from']}: {cause or 'the upgrade did not work'}"
    return f"Back on {asked['from']}"


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
