"""Import container images into the node from OCI archives; there is no registry."""

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.devcluster.errors import ClusterError
from tools.devcluster.layout import Layout
from tools.devcluster.node.configuration import CONTAINERD_SOCKET, PAUSE_IMAGE
from tools.devcluster.node.processes import find_node_process

NAME_ANNOTATION = "io.containerd.image.name"
IMPORT_TIMEOUT_S = 600
_OCI = "application/vnd.oci.image"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_EXECUTABLE_MODE = 0o755


def import_archive(layout: Layout, archive: Path) -> bool:
    """Import an OCI archive; return False when the node has all of its images already."""
    wanted = read_archive_images(archive)
    present = list_node_images(layout)
    if wanted and all(present.get(name) == digest for name, digest in wanted.items()):
        return False
    with archive.open("rb") as content:
        _run_ctr(layout, "images", "import", "-", stdin=content.fileno())
    # A pod can name an image by digest, as it could with a registry.
    for name, digest in wanted.items():
        _run_ctr(layout, "images", "tag", "--force", name, f"{name.rpartition(':')[0]}@{digest}")
    return True


def read_archive_images(archive: Path) -> dict[str, str]:
    """Map name to digest of an archive's images; empty for Docker's older archive format."""
    try:
        with tarfile.open(archive) as opened:
            member = opened.extractfile("index.json")
            index = json.load(member) if member else {}
    except KeyError:
        return {}
    except (OSError, tarfile.TarError, ValueError) as error:
        raise ClusterError(
            f"{archive} is no image archive: {error}. Pass a tar file of an OCI layout."
        ) from error
    named = [
        (entry.get("annotations", {}).get(NAME_ANNOTATION), entry.get("digest"))
        for entry in index.get("manifests", [])
    ]
    return {name: digest for name, digest in named if name and digest}


def list_node_images(layout: Layout) -> dict[str, str]:
    """Map name to digest of the node's images."""
    lines = _run_ctr(layout, "images", "list").splitlines()[1:]
    rows = [line.split() for line in lines]
    return {row[0]: row[2] for row in rows if len(row) > 2}


def _run_ctr(layout: Layout, *words: str, stdin: int = subprocess.DEVNULL) -> str:
    node = find_node_process(layout.state)
    if node is None:
        raise ClusterError("The cluster is not running. Run `bare-cluster up` first.")
    enter = ["nsenter", f"--target={node.pid}", "--mount", "--"]
    command = [
        *enter,
        str(layout.programs / "ctr"),
        f"--address={CONTAINERD_SOCKET}",
        "--namespace=k8s.io",
        *words,
    ]
    try:
        done = subprocess.run(
            command,
            stdin=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=IMPORT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ClusterError(
            f"`ctr {' '.join(words)}` took longer than {IMPORT_TIMEOUT_S} s."
        ) from error
    if done.returncode:
        reason = done.stderr.strip()[-2000:]
        raise ClusterError(
            f"`ctr {' '.join(words)}` failed: {reason} See {layout.logs}/containerd.log."
        )
    return done.stdout


def import_pause_image(layout: Layout, program: Path) -> None:
    """Pack the pause program as an image and import it."""
    archive = layout.state / "pause.tar"
    archive.write_bytes(
        make_archive(PAUSE_IMAGE, {"pause": program.read_bytes()}, entrypoint=["/pause"])
    )
    import_archive(layout, archive)
    archive.unlink()


def make_archive(name: str, files: Mapping[str, bytes], *, entrypoint: list[str]) -> bytes:
    """Make an OCI archive with one layer; the same files give the same bytes."""
    layer = make_tar(files)
    config = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": entrypoint, "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    blobs: dict[str, bytes] = {}
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}.manifest.v1+json",
        "config": _add_blob(blobs, f"{_OCI}.config.v1+json", _encode_json(config)),
        "layers": [_add_blob(blobs, f"{_OCI}.layer.v1.tar", layer)],
    }
    entry = _add_blob(blobs, f"{_OCI}.manifest.v1+json", _encode_json(manifest)) | {
        "annotations": {NAME_ANNOTATION: name}
    }
    index = {"schemaVersion": 2, "manifests": [entry]}
    return make_tar(
        {
            "oci-layout": _encode_json({"imageLayoutVersion": "1.0.0"}),
            "index.json": _encode_json(index),
            **blobs,
        }
    )


def _add_blob(blobs: dict[str, bytes], media_type: str, content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    blobs[f"blobs/sha256/{digest}"] = content
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _encode_json(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True).encode()


def make_tar(files: Mapping[str, bytes]) -> bytes:
    """Make a tar without times and owners, so that the same files give the same bytes."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), _EXECUTABLE_MODE
            archive.addfile(member, io.BytesIO(content))
    return output.getvalue()
