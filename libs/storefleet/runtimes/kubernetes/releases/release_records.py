"""Read the records of a store's Helm release, and hash the release's content.

Helm keeps one Secret per revision. A record with the status `pending-…` belongs to an interrupted
run of Helm and blocks every later run. Since this process holds the store's lease, that run is
over: `installer` deletes its record, and the next run adopts the objects that exist already, which
Helm recognizes by its annotations.
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
    """The record of one revision of a release.

    Attributes:
        name: Name of the Secret.
        uid: UID of the Secret.
        revision: Number of the revision.
        status: Helm's status, such as `deployed` or `pending-upgrade`.
        content_hash: Hash of chart and values; see `hash_release`.
        operation_id: The operation that installed it.
    """

    name: str
    uid: str
    revision: int
    status: str
    content_hash: str
    operation_id: str

    @property
    def is_interrupted(self) -> bool:
        """Whether the run of Helm that wrote the record did not end."""
        return self.status.startswith("pending-") or self.status == "uninstalling"


async def list_records(client: KubernetesClient, namespace: str) -> list[ReleaseRecord]:
    """List the records of the namespace's release, oldest first; only metadata is transferred."""
    found = await client.list_objects(
        resource_kinds.SECRET,
        namespace=namespace,
        labels=f"owner=helm,name={RELEASE_NAME}",
        metadata_only=True,
    )
    return sorted((_make_record(each) for each in found), key=lambda record: record.revision)


def hash_release(chart: Path, values: Mapping[str, Any]) -> str:
    """Hash a chart and its values.

    Args:
        chart: Folder of the chart; read once per process.
        values: Values of the release.

    Returns:
        32 hexadecimal digits, which fit into a label.
    """
    content = _hash_chart(chart) + json.dumps(values, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


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


@lru_cache(maxsize=64)
def _hash_chart(chart: Path) -> str:
    """Hash names and contents of all files of a chart."""
    digest = hashlib.sha256()
    for path in sorted(path for path in chart.rglob("*") if path.is_file()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(chart)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
