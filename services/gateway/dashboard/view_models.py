"""What the templates draw: domain objects as plain view data."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from services.gateway.dashboard.event_texts import sentence
from storefleet.core.models import (
    Event,
    Failure,
    Operation,
    Principal,
    Step,
    Store,
    format_timestamp,
)
from storefleet.core.settings import Settings
from storefleet.database.version_changes import VersionHistoryEntry
from storefleet.engines.catalogue import Engine, Version

#: What a cluster calls the things that it counts.
_RESOURCES = {
    "requests.cpu": "CPU, reserved",
    "limits.cpu": "CPU, at most",
    "requests.memory": "memory, reserved",
    "limits.memory": "memory, at most",
    "requests.storage": "storage",
    "persistentvolumeclaims": "volumes",
    "CPU requests": "CPU, reserved",
    "CPU limits": "CPU, at most",
    "memory requests": "memory, reserved",
    "memory limits": "memory, at most",
}
_QUANTITY = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)(m|[KMGT]i)?")
_NEXT_UNIT = {"Ki": "Mi", "Mi": "Gi", "Gi": "Ti"}


def me(caller: Principal) -> dict[str, Any]:
    return {
        "email": caller.email,
        "tenant": caller.tenant_id,
        "tenant_name": caller.tenant_name,
        "operator": caller.operator,
    }


def address(settings: Settings) -> dict[str, Any]:
    """How the address of a new store begins and ends; `own_port` where only its making gives it one."""
    kubernetes = settings.runtime == "kubernetes"
    scheme = settings.store_scheme if kubernetes else "http"
    port = settings.store_public_port if kubernetes else 0
    usual = port in (0, {"http": 80, "https": 443}[scheme])
    after = f".{settings.store_domain}" + ("" if usual else f":{port}")
    return {"before": f"{scheme}://", "after": after, "own_port": settings.runtime == "local"}


def store(store: Store, operation: Operation | None, engine: Engine | None) -> dict[str, Any]:
    return {
        **store.to_json(),
        "engine_title": title(store, engine),
        "operation": _operation(operation) if operation else None,
    }


def title(store: Store, engine: Engine | None) -> str:
    """What people call the kind of shop; its name, when it is not known here any more."""
    return engine.title if engine else store.engine


def operation(operation: Operation | None) -> dict[str, Any] | None:
    return _operation(operation) if operation else None


def _operation(operation: Operation) -> dict[str, Any]:
    """With its place among the steps that it goes through; on a way back, the rest of the way there is skipped."""
    back = any(_leads_back(step) for step in operation.steps)
    returning = back or (operation.error is not None and not operation.done)
    steps = [
        _skipped(step) if back and _never_begun(step) else step.to_json()
        for step in operation.steps
    ]
    walked = [step["state"] for step in steps if step["state"] != "skipped"]
    return {
        **operation.to_json(),
        "steps": steps,
        "returning": returning,
        "orders": _orders(operation.error),
        "position": _position(walked, back=back),
        "total": len(walked),
    }


def _orders(error: Failure | None) -> dict[str, Any] | None:
    """Those that a rollback would lose, apart, when the explanation lists several."""
    if error is None or error.code != "orders_would_go":
        return None
    before, lost, listed = error.detail.partition(" lost: ")
    each = listed.removesuffix(".").split("; ")
    return {"before": f"{before}{lost}".strip(), "each": each} if len(each) > 1 else None


def _leads_back(step: Step) -> bool:
    return step.name.startswith("rollback-")


def _never_begun(step: Step) -> bool:
    return step.started_at is None and not _leads_back(step)


def _skipped(step: Step) -> dict[str, Any]:
    return {**step.to_json(), "state": "skipped", "finished_at": None, "message": ""}


def _position(states: list[str], *, back: bool) -> int:
    """Which step runs, or was the last one to, counted from one."""
    for number, state in enumerate(states, start=1):
        if state == "running" or (state in ("failed", "cancelled") and not back):
            return number
    return min(sum(state != "pending" for state in states) + 1, len(states))


def versions(
    store: Store, engine: Engine | None, *, way_back: Operation | None, why_not: str | None
) -> dict[str, Any]:
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
            "saved_at": format_timestamp(way_back.started_at),
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


def usage(shown: Mapping[str, Any], *, problem: str | None = None) -> dict[str, Any]:
    """The plan and what is taken of it, named and written as people do."""
    resources = [_use(use) for use in shown.get("resources") or ()]
    return {"title": shown.get("title", ""), "resources": resources, "problem": problem}


def _use(use: Mapping[str, Any]) -> dict[str, Any]:
    title = _RESOURCES.get(use["name"], use["name"])
    return {
        **use,
        "used": amount(use["used"]),
        "hard": amount(use["hard"]),
        "title": title[:1].upper() + title[1:],
    }


def amount(quantity: str) -> str:
    """A cluster's quantity as people write it: 1536Mi is 1.5 GiB, and 200m is 0.2."""
    found = _QUANTITY.fullmatch(quantity)
    if found is None:
        return quantity
    number, unit = float(found[1]), found[2]
    if unit == "m":
        return f"{number / 1000:g}"
    while unit in _NEXT_UNIT and number >= 1024:
        number, unit = number / 1024, _NEXT_UNIT[unit]
    return f"{number:.3g} {unit}B" if unit else f"{number:g}"


def engine(engine: Engine) -> dict[str, Any]:
    shape = engine.to_json()
    plans = [
        {**plan, "summary": {name: amount(text) for name, text in plan["summary"].items()}}
        for plan in shape["plans"]
    ]
    return {**shape, "plans": plans}


def history(
    entries: Iterable[VersionHistoryEntry], *, older: bool, paged: str | None
) -> dict[str, Any]:
    """A page of the store's history, with a sentence for what was done each time."""
    shown = [
        {**entry.to_json(), "what": _done(entry), "who": entry.requested_by.name}
        for entry in entries
    ]
    return {
        "entries": shown,
        "older": shown[-1]["operation_id"] if older and shown else None,
        "paged": paged or "",
    }


def _done(entry: VersionHistoryEntry) -> str:
    if entry.kind == "upgrade":
        return f"Upgrade {entry.from_version} → {entry.to_version}"
    if entry.kind == "rollback":
        what = "with the saved database" if entry.restores_dump else "program only"
        return f"Roll back {entry.from_version} → {entry.to_version}, {what}"
    return f"Create with {entry.to_version}" + (f", plan {entry.plan}" if entry.plan else "")


def event(event: Event) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "type": event.type,
        "time": format_timestamp(event.time),
        "data": event.data,
        "summary": sentence(event),
    }


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
