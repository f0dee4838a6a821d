"""The default StorageClass: a folder for each claim, made when its pod has a node, gone with the claim."""

import queue
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.devcluster.api import Api, ApiError
from tools.devcluster.layout import NODE_NAME, Layout
from tools.devcluster.manifests import PROVISIONER, STORAGE_CLASS

CLAIMS = "/api/v1/persistentvolumeclaims"
VOLUMES = "/api/v1/persistentvolumes"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
NODE_LABEL = "kubernetes.io/hostname"
RETRY_SECONDS = 1.0
SWEEP_SECONDS = 60.0
Object = Mapping[str, Any]


def wants_volume(claim: Object) -> bool:
    """Whether the claim is ours to serve, and its pod has got a node."""
    metadata, spec = claim["metadata"], claim["spec"]
    return (
        spec.get("storageClassName") == STORAGE_CLASS
        and not spec.get("volumeName")
        and "deletionTimestamp" not in metadata
        and SELECTED_NODE in metadata.get("annotations", {})
    )


def is_ours(volume: Object) -> bool:
    return bool(volume["metadata"].get("annotations", {}).get(PROVISIONED_BY) == PROVISIONER)


def is_over(volume: Object) -> bool:
    """Whether the volume's claim is gone, and its data with it."""
    released = volume.get("status", {}).get("phase") in {"Released", "Failed"}
    return (
        is_ours(volume)
        and released
        and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
    )


def volume_name(claim: Object) -> str:
    return f"pvc-{claim['metadata']['uid']}"


def make_volume(claim: Object, folder: Path) -> dict[str, Any]:
    """Kept for this very claim, on the node that its pod got."""
    metadata, spec = claim["metadata"], claim["spec"]
    node = {"key": NODE_LABEL, "operator": "In", "values": [metadata["annotations"][SELECTED_NODE]]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": volume_name(claim), "annotations": {PROVISIONED_BY: PROVISIONER}},
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
class Keeper:
    """What has been seen last, and what is done about it."""

    api: Api
    folder: Path
    changes: "queue.Queue[tuple[str, Object]]" = field(default_factory=queue.Queue)

    def handle(self, kind: str, thing: Object) -> None:
        """Makes or removes what this object asks for; doing it twice does no harm."""
        if kind == CLAIMS and wants_volume(thing):
            self._make(thing)
        elif kind == VOLUMES and is_over(thing):
            self._remove(thing)

    def _make(self, claim: Object) -> None:
        if claim["spec"].get("volumeMode", "Filesystem") != "Filesystem":
            _say(f"{_shown(claim)} wants a raw block volume: this class has folders only")
            return
        folder = self.folder / volume_name(claim)
        if claim["metadata"]["annotations"][SELECTED_NODE] == NODE_NAME:
            folder.mkdir(exist_ok=True)
            # Whoever the pod runs as may write here; the folder above lets nobody else in.
            folder.chmod(0o777)
        try:
            self.api.create(VOLUMES, make_volume(claim, folder))
        except ApiError as error:
            if error.status != 409:
                raise
        else:
            _say(f"made {folder.name} for {_shown(claim)}")

    def _remove(self, volume: Object) -> None:
        """The folder first: while the volume is there, somebody comes back to finish."""
        metadata = volume["metadata"]
        remove_folder(self.folder / metadata["name"])
        try:
            self.api.delete(f"{VOLUMES}/{metadata['name']}", uid=metadata["uid"])
        except ApiError as error:
            if error.status not in {404, 409}:
                raise
        else:
            _say(f"removed {metadata['name']}")

    def sweep(self, known: Iterable[str]) -> None:
        """Removes folders whose volume was deleted by hand; a young one's volume may be on its way."""
        names = set(known)
        oldest = time.time() - SWEEP_SECONDS
        for folder in self.folder.iterdir():
            if folder.name not in names and folder.stat().st_mtime < oldest:
                _say(f"removed {folder.name}, which had no volume any more")
                remove_folder(folder)


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=False, onerror=_unless_gone)


def _unless_gone(
    _function: object, _path: object, failure: tuple[type[BaseException], BaseException, object]
) -> None:
    if not isinstance(failure[1], FileNotFoundError):
        raise failure[1]


def follow(
    api: Api, path: str, put: Callable[[str, Object], None], listed: Callable[[list[str]], None]
) -> None:
    """Everything there is, then every change; again from the start when anything is wrong."""
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
            _say(f"looking again at {path}: {error}")
        time.sleep(RETRY_SECONDS)


def keep_volumes(layout: Layout, api: Api) -> None:
    """Serves claims until it is ended."""
    keeper = Keeper(api, layout.volumes)

    def put(kind: str, thing: Object) -> None:
        keeper.changes.put((kind, thing))

    for path, listed in ((CLAIMS, _nothing), (VOLUMES, keeper.sweep)):
        threading.Thread(
            target=follow, args=(api, path, put, listed), name=path, daemon=True
        ).start()
    while True:
        kind, thing = keeper.changes.get()
        try:
            keeper.handle(kind, thing)
        except (ApiError, OSError) as error:
            _say(f"{_shown(thing)}: {error}; again in {RETRY_SECONDS:.0f} s")
            threading.Timer(RETRY_SECONDS, put, (kind, thing)).start()


def _nothing(names: list[str]) -> None:
    """Folders are swept by the volumes that there are, whatever claims there are."""
    del names


def _shown(thing: Object) -> str:
    metadata = thing["metadata"]
    return "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))


def _say(text: str) -> None:
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}", file=sys.stderr, flush=True)
