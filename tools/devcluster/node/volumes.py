"""Provision volumes for the default StorageClass: a folder for each claim.

The folder is created when the scheduler has chosen a node for the claim's pod, and removed with
the claim. It runs as the process `volumes` of the node.
"""

import queue
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.devcluster.kubernetes.api import ApiClient, ApiError
from tools.devcluster.kubernetes.manifests import PROVISIONER, STORAGE_CLASS
from tools.devcluster.layout import NODE_NAME, Layout

CLAIMS_PATH = "/api/v1/persistentvolumeclaims"
VOLUMES_PATH = "/api/v1/persistentvolumes"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
NODE_LABEL = "kubernetes.io/hostname"
RETRY_INTERVAL_S = 1.0
ORPHAN_AGE_S = 60.0
ApiObject = Mapping[str, Any]


def needs_volume(claim: ApiObject) -> bool:
    """Return whether the claim is of this class, without a volume, and its pod has a node."""
    metadata, spec = claim["metadata"], claim["spec"]
    return (
        spec.get("storageClassName") == STORAGE_CLASS
        and not spec.get("volumeName")
        and "deletionTimestamp" not in metadata
        and SELECTED_NODE in metadata.get("annotations", {})
    )


def is_own_volume(volume: ApiObject) -> bool:
    """Return whether this provisioner created the volume."""
    return bool(volume["metadata"].get("annotations", {}).get(PROVISIONED_BY) == PROVISIONER)


def is_released(volume: ApiObject) -> bool:
    """Return whether the volume's claim was deleted, so that its data can be removed."""
    released = volume.get("status", {}).get("phase") in {"Released", "Failed"}
    return (
        is_own_volume(volume)
        and released
        and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
    )


def make_volume_name(claim: ApiObject) -> str:
    """Make the volume's name, which is also its folder's, from the claim's UID."""
    return f"pvc-{claim['metadata']['uid']}"


def make_volume(claim: ApiObject, folder: Path) -> dict[str, Any]:
    """Make a volume that is bound to this claim, on the node of the claim's pod."""
    metadata, spec = claim["metadata"], claim["spec"]
    node = {"key": NODE_LABEL, "operator": "In", "values": [metadata["annotations"][SELECTED_NODE]]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": make_volume_name(claim), "annotations": {PROVISIONED_BY: PROVISIONER}},
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": STORAGE_CLASS,
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [node]}]}},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
        },
    }


@dataclass
class VolumeProvisioner:
    """Creates and removes volumes as claims and volumes change."""

    api: ApiClient
    folder: Path
    changes: "queue.Queue[tuple[str, ApiObject]]" = field(default_factory=queue.Queue)

    def handle_change(self, kind: str, changed: ApiObject) -> None:
        """Create or remove the volume of a changed object; repeated calls change nothing."""
        if kind == CLAIMS_PATH and needs_volume(changed):
            self._create_volume(changed)
        elif kind == VOLUMES_PATH and is_released(changed):
            self._remove_volume(changed)

    def _create_volume(self, claim: ApiObject) -> None:
        if claim["spec"].get("volumeMode", "Filesystem") != "Filesystem":
            _log_message(
                f"{_format_name(claim)} requests a raw block volume; this class has folders only"
            )
            return
        folder = self.folder / make_volume_name(claim)
        if claim["metadata"]["annotations"][SELECTED_NODE] == NODE_NAME:
            folder.mkdir(exist_ok=True)
            # A pod of any user may write here; the parent folder is closed to other processes.
            folder.chmod(0o777)
        try:
            self.api.create(VOLUMES_PATH, make_volume(claim, folder))
        except ApiError as error:
            if error.status != 409:
                raise
        else:
            _log_message(f"created {folder.name} for {_format_name(claim)}")

    def _remove_volume(self, volume: ApiObject) -> None:
        """Remove the folder first: as long as the volume exists, the removal is retried."""
        metadata = volume["metadata"]
        remove_folder(self.folder / metadata["name"])
        try:
            self.api.delete(f"{VOLUMES_PATH}/{metadata['name']}", uid=metadata["uid"])
        except ApiError as error:
            if error.status not in {404, 409}:
                raise
        else:
            _log_message(f"removed {metadata['name']}")

    def remove_orphans(self, known: Iterable[str]) -> None:
        """Remove folders whose volume was deleted by hand, unless they were created just now."""
        names = set(known)
        oldest = time.time() - ORPHAN_AGE_S
        for folder in self.folder.iterdir():
            if folder.name not in names and folder.stat().st_mtime < oldest:
                _log_message(f"removed {folder.name}, which has no volume")
                remove_folder(folder)


def remove_folder(folder: Path) -> None:
    """Remove a folder; parts that disappear meanwhile are no error."""
    shutil.rmtree(folder, ignore_errors=False, onerror=_ignore_missing)


def _ignore_missing(
    _function: object, _path: object, failure: tuple[type[BaseException], BaseException, object]
) -> None:
    if not isinstance(failure[1], FileNotFoundError):
        raise failure[1]


def watch_collection(
    api: ApiClient,
    path: str,
    put: Callable[[str, ApiObject], None],
    listed: Callable[[list[str]], None],
) -> None:
    """List a collection, then watch its changes; start over after an error."""
    while True:
        try:
            answer = api.get(path)
            for item in answer["items"]:
                put(path, item)
            listed([item["metadata"]["name"] for item in answer["items"]])
            version = answer["metadata"]["resourceVersion"]
            for event in api.watch(path, version=version):
                if event["type"] == "ERROR":
                    break
                if event["type"] in {"ADDED", "MODIFIED"}:
                    put(path, event["object"])
        except (ApiError, KeyError, OSError) as error:
            _log_message(f"listing {path} again after an error: {error}")
        time.sleep(RETRY_INTERVAL_S)


def run_provisioner(layout: Layout, api: ApiClient) -> None:
    """Serve claims until the process ends."""
    provisioner = VolumeProvisioner(api, layout.volumes)

    def put(kind: str, changed: ApiObject) -> None:
        provisioner.changes.put((kind, changed))

    for path, listed in ((CLAIMS_PATH, _ignore_names), (VOLUMES_PATH, provisioner.remove_orphans)):
        threading.Thread(
            target=watch_collection, args=(api, path, put, listed), name=path, daemon=True
        ).start()
    while True:
        kind, changed = provisioner.changes.get()
        try:
            provisioner.handle_change(kind, changed)
        except (ApiError, OSError) as error:
            _log_message(f"{_format_name(changed)}: {error}; retry in {RETRY_INTERVAL_S:.0f} s")
            threading.Timer(RETRY_INTERVAL_S, put, (kind, changed)).start()


def _ignore_names(names: list[str]) -> None:
    """Do nothing: orphans are found by the list of volumes, not by the list of claims."""
    del names


def _format_name(changed: ApiObject) -> str:
    metadata = changed["metadata"]
    return "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))


def _log_message(text: str) -> None:
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}", file=sys.stderr, flush=True)
