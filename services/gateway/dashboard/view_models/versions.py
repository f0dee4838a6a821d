"""View models of engine versions and the version history of a store."""

import re
from collections.abc import Iterable
from typing import Any

from storefleet.core.lifecycle import OperationKind
from storefleet.core.models import Operation, Store, format_timestamp
from storefleet.database.repositories.version_history import VersionHistoryEntry
from storefleet.engines.descriptor import Engine, EngineVersion


def make_versions_view(
    store: Store,
    engine: Engine | None,
    *,
    reversible_upgrade: Operation | None,
    unsupported_reason: str | None,
) -> dict[str, Any]:
    """Make the view of the current version, other versions (newest first) and the rollback."""
    versions = engine.versions if engine else ()
    current = _parse_version_numbers(store.engine_version)
    others = sorted(
        (version for version in versions if version.version != store.engine_version),
        key=_get_sort_key,
        reverse=True,
    )
    rollback = reversible_upgrade and {
        **_make_version_view(versions, reversible_upgrade.versions.from_version),
        "saved_at": format_timestamp(reversible_upgrade.started_at),
    }
    return {
        "current": _make_version_view(versions, store.engine_version),
        "others": [
            {**_make_version_view(versions, other.version), "older": _get_sort_key(other) < current}
            for other in others
        ],
        "rollback": rollback,
        "is_supported": unsupported_reason is None,
        "unsupported_reason": unsupported_reason,
    }


def make_history_view(
    entries: Iterable[VersionHistoryEntry], *, has_more: bool, starting_after: str | None
) -> dict[str, Any]:
    """Make a page of the version history; `next` is the id that the next page starts after."""
    rows = [
        {
            **entry.to_json(),
            "summary": _describe_history_entry(entry),
            "actor": entry.requested_by.name,
        }
        for entry in entries
    ]
    return {
        "entries": rows,
        "next": rows[-1]["operation_id"] if has_more and rows else None,
        "starting_after": starting_after or "",
    }


def _make_version_view(versions: Iterable[EngineVersion], version: str) -> dict[str, Any]:
    notes = next((known.notes for known in versions if known.version == version), "")
    return {"version": version, "notes": notes}


def _get_sort_key(version: EngineVersion) -> list[int]:
    return _parse_version_numbers(version.version)


def _parse_version_numbers(version: str) -> list[int]:
    """Return the numbers of a version; everything between them is ignored for the order."""
    return [int(number) for number in re.findall(r"\d{1,9}", version)]


def _describe_history_entry(entry: VersionHistoryEntry) -> str:
    if entry.kind == OperationKind.UPGRADE:
        return f"Upgrade {entry.from_version} → {entry.to_version}"
    if entry.kind == OperationKind.ROLLBACK:
        scope = "software and database" if entry.restores_dump else "software only"
        return f"Rollback {entry.from_version} → {entry.to_version}, {scope}"
    return f"Creation with {entry.to_version}" + (f", plan {entry.plan}" if entry.plan else "")
