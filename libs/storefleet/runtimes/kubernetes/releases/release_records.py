"""The one Helm release of a store: looked at through its records, brought up to date, freed when Helm died in it.

Helm keeps a Secret for every revision. One that says `pending-…` belongs to a run that ended without a word, and blocks
every later run. We hold the store's lease, so that run is not ours any more: its record goes away, and Helm takes over
what was made already, which it knows by its own annotations.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from storefleet.runtimes.kubernetes.api import resource_kinds
from storefleet.runtimes.kubernetes.api.client import KubernetesClient
from storefleet.runtimes.kubernetes.api.resource_kinds import Manifest
from storefleet.runtimes.kubernetes.releases.helm_process import RELEASE_NAME

CONTENT_LABEL = "storefleet.dev/content"
OPERATION_LABEL = "storefleet.dev/operation"


class ReleaseRecord(NamedTuple):
    """What is known of a revision."""

    name: str
    uid: str
    revision: int
    status: str
    content_hash: str
    operation_id: str

    @property
    def is_interrupted(self) -> bool:
        return self.status.startswith("pending-") or self.status == "uninstalling"


async def list_records(client: KubernetesClient, namespace: str) -> list[ReleaseRecord]:
    """Every revision that Helm remembers, oldest first; what is in them stays where it is."""
    found = await client.list_objects(
        resource_kinds.SECRET,
        namespace=namespace,
        labels=f"owner=helm,name={RELEASE_NAME}",
        metadata_only=True,
    )
    return sorted((_make_record(each) for each in found), key=lambda record: record.revision)


def _make_record(secret: Manifest) -> ReleaseRecord:
    metadata = secret["metadata"]
    labels = metadata.get("labels", {})
    return ReleaseRecord(
        name=metadata["name"],
        uid=metadata["uid"],
        revision=int(labels.get("version") or 0),
        status=labels.get("status", ""),
        content_hash=labels.get(CONTENT_LABEL, ""),
        operation_id=labels.get(OPERATION_LABEL, ""),
    )


def hash_release(chart: Path, values: Mapping[str, Any]) -> str:
    """One word for chart and values together."""
    whole = _hash_chart(chart) + json.dumps(values, sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:32]


@lru_cache(maxsize=64)
def _hash_chart(chart: Path) -> str:
    """Of every file of the chart; read once, as the engines are."""
    digest = hashlib.sha256()
    for path in sorted(path for path in chart.rglob("*") if path.is_file()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(chart)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
