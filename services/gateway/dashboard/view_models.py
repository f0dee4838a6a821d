"""What the templates draw: domain objects as plain view data."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from services.gateway.dashboard.event_texts import describe_event
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
from storefleet.database.version_history import VersionHistoryEntry
from storefleet.engines.catalogue import Engine, Version

#: What a cluster calls the things that it counts.
_RESOURCE_NAMES = {
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
_QUANTITY_PATTERN = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)(m|[KMGT]i)?")
_NEXT_LARGER_UNIT = {"Ki": "Mi", "Mi": "Gi", "Gi": "Ti"}


def make_principal_view(principal: Principal) -> dict[str, Any]:
    return {
        "email": principal.email,
        "tenant": principal.tenant_id,
        "tenant_name": principal.tenant_name,
        "operator": principal.operator,
    }


def make_url_preview(settings: Settings) -> dict[str, Any]:
    """How the address of a new store begins and ends; `own_port` where only its making gives it one."""
    kubernetes = settings.runtime == "kubernetes"
    scheme = settings.store_scheme if kubernetes else "http"
    port = settings.store_public_port if kubernetes else 0
    usual = port in (0, {"http": 80, "https": 443}[scheme])
    after = f".{settings.store_domain}" + ("" if usual else f":{port}")
    return {"before": f"{scheme}://", "after": after, "own_port": settings.runtime == "local"}


def make_store_view(
    store: Store, operation: Operation | None, engine: Engine | None
) -> dict[str, Any]:
    return {
        **store.to_json(),
        "engine_title": get_engine_title(store, engine),
        "operation": _make_operation_view(operation) if operation else None,
    }


def get_engine_title(store: Store, engine: Engine | None) -> str:
    """What people call the kind of shop; its name, when it is not known here any more."""
    return engine.title if engine else store.engine


def make_operation_view(operation: Operation | None) -> dict[str, Any] | None:
    return _make_operation_view(operation) if operation else None


def _make_operation_view(operation: Operation) -> dict[str, Any]:
    """With its place among the steps that it goes through; on a way back, the rest of the way there is skipped."""
    back = any(_is_rollback_step(step) for step in operation.steps)
    returning = back or (operation.error is not None and not operation.done)
    steps = [
        _make_skipped_step(step) if back and _is_skipped_by_rollback(step) else step.to_json()
        for step in operation.steps
    ]
    walked = [step["state"] for step in steps if step["state"] != "skipped"]
    return {
        **operation.to_json(),
        "steps": steps,
        "returning": returning,
        "orders": _list_lost_orders(operation.error),
        "position": _find_step_position(walked, is_rollback=back),
        "total": len(walked),
    }


def _list_lost_orders(error: Failure | None) -> dict[str, Any] | None:
    """Those that a rollback would lose, apart, when the explanation lists several."""
    if error is None or error.code != "orders_would_be_lost":
        return None
    before, lost, listed = error.detail.partition(" lost: ")
    each = listed.removesuffix(".").split("; ")
    return {"before": f"{before}{lost}".strip(), "each": each} if len(each) > 1 else None


def _is_rollback_step(step: Step) -> bool:
    return step.name.startswith("rollback-")


def _is_skipped_by_rollback(step: Step) -> bool:
    return step.started_at is None and not _is_rollback_step(step)


def _make_skipped_step(step: Step) -> dict[str, Any]:
    return {**step.to_json(), "state": "skipped", "finished_at": None, "message": ""}


def _find_step_position(states: list[str], *, is_rollback: bool) -> int:
    """Which step runs, or was the last one to, counted from one."""
    for number, state in enumerate(states, start=1):
        if state == "running" or (state in ("failed", "cancelled") and not is_rollback):
            return number
    return min(sum(state != "pending" for state in states) + 1, len(states))


def make_versions_view(
    store: Store,
    engine: Engine | None,
    *,
    reversible_upgrade: Operation | None,
    unsupported_reason: str | None,
) -> dict[str, Any]:
    """The version that the store has, those it can go to, newest first, and the one it can go back to."""
    known = engine.versions if engine else ()
    others = sorted(
        (v for v in known if v.version != store.engine_version), key=_get_sort_key, reverse=True
    )
    here = _parse_version_numbers(store.engine_version)
    return {
        "current": _make_version_view(known, store.engine_version),
        "others": [
            {**_make_version_view(known, v.version), "older": _get_sort_key(v) < here}
            for v in others
        ],
        "back": reversible_upgrade
        and {
            **_make_version_view(known, reversible_upgrade.input["from"]),
            "saved_at": format_timestamp(reversible_upgrade.started_at),
        },
        "possible": unsupported_reason is None,
        "why_not": unsupported_reason,
    }


def _make_version_view(known: Iterable[Version], version: str) -> dict[str, Any]:
    return {"version": version, "notes": next((v.notes for v in known if v.version == version), "")}


def _get_sort_key(version: Version) -> list[int]:
    return _parse_version_numbers(version.version)


def _parse_version_numbers(version: str) -> list[int]:
    """Versions count by their numbers, whatever stands between those."""
    return [int(number) for number in re.findall(r"\d{1,9}", version)]


def make_resource_usage_view(
    resource_usage: Mapping[str, Any], *, problem: str | None = None
) -> dict[str, Any]:
    """The plan and what is taken of it, named and written as people do."""
    resources = [_make_resource_view(use) for use in resource_usage.get("resources") or ()]
    return {"title": resource_usage.get("title", ""), "resources": resources, "problem": problem}


def _make_resource_view(resource: Mapping[str, Any]) -> dict[str, Any]:
    title = _RESOURCE_NAMES.get(resource["name"], resource["name"])
    return {
        **resource,
        "used": format_quantity(resource["used"]),
        "hard": format_quantity(resource["hard"]),
        "title": title[:1].upper() + title[1:],
    }


def format_quantity(quantity: str) -> str:
    """A cluster's quantity as people write it: 1536Mi is 1.5 GiB, and 200m is 0.2."""
    found = _QUANTITY_PATTERN.fullmatch(quantity)
    if found is None:
        return quantity
    number, unit = float(found[1]), found[2]
    if unit == "m":
        return f"{number / 1000:g}"
    while unit in _NEXT_LARGER_UNIT and number >= 1024:
        number, unit = number / 1024, _NEXT_LARGER_UNIT[unit]
    return f"{number:.3g} {unit}B" if unit else f"{number:g}"


def make_engine_view(engine: Engine) -> dict[str, Any]:
    shape = engine.to_json()
    plans = [
        {**plan, "summary": {name: format_quantity(text) for name, text in plan["summary"].items()}}
        for plan in shape["plans"]
    ]
    return {**shape, "plans": plans}


def make_history_view(
    entries: Iterable[VersionHistoryEntry], *, has_older: bool, starting_after: str | None
) -> dict[str, Any]:
    """A page of the store's history, with a sentence for what was done each time."""
    shown = [
        {**entry.to_json(), "what": _describe_history_entry(entry), "who": entry.requested_by.name}
        for entry in entries
    ]
    return {
        "entries": shown,
        "older": shown[-1]["operation_id"] if has_older and shown else None,
        "paged": starting_after or "",
    }


def _describe_history_entry(entry: VersionHistoryEntry) -> str:
    if entry.kind == "upgrade":
        return f"Upgrade {entry.from_version} → {entry.to_version}"
    if entry.kind == "rollback":
        what = "with the saved database" if entry.restores_dump else "program only"
        return f"Roll back {entry.from_version} → {entry.to_version}, {what}"
    return f"Create with {entry.to_version}" + (f", plan {entry.plan}" if entry.plan else "")


def make_event_view(event: Event) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "type": event.type,
        "time": format_timestamp(event.time),
        "data": event.data,
        "summary": describe_event(event),
    }


def parse_form_parameters(
    form: Mapping[str, Any], engine: str, schema: dict[str, Any]
) -> dict[str, Any]:
    """The engine's parameters from form fields named `parameters.<engine>.<property>`; empty ones are left out."""
    found: dict[str, Any] = {}
    for name, rule in schema.get("properties", {}).items():
        value = form.get(f"parameters.{engine}.{name}")
        if rule.get("type") == "boolean":  # a box that is not ticked is not sent
            found[name] = value in ("true", "on")
        elif isinstance(value, str) and value.strip():
            found[name] = _parse_field(value.strip(), rule.get("type"))
    return found


def _parse_field(text: str, json_type: str | None) -> Any:
    """What the field means; text that does not fit is left for the schema to refuse."""
    try:
        if json_type == "integer":
            return int(text)
        if json_type == "number" and math.isfinite(value := float(text)):
            return value
    except ValueError:
        return text
    return text
