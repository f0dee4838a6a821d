"""A small image for the node of a test cluster: a static busybox in an OCI archive."""

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from pathlib import Path

IMAGE = "docker.io/storefleet/pocket:1.0.0"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_OCI = "application/vnd.oci.image"
_APPLETS = (
    *("sh", "httpd", "nc", "sleep", "seq", "mkdir", "date", "true", "test", "echo", "cat"),
    *("mv", "touch", "chmod", "wc", "awk"),
)


def make_pocket_image(folder: Path) -> Path:
    return make_image(folder, IMAGE, {})


def make_image(folder: Path, name: str, files: dict[str, bytes], *, entrypoint: str = "") -> Path:
    """Build an OCI archive of busybox, from Debian's package, and further files."""
    apt = ["apt-get", "download", "-o", "APT::Sandbox::User=root", "busybox-static"]
    subprocess.run(apt, cwd=folder, check=True, capture_output=True, timeout=120)
    package = next(folder.glob("busybox-static_*.deb"))
    subprocess.run(["dpkg-deb", "-x", str(package), str(folder / "root")], check=True, timeout=60)
    layer = _layer((folder / "root" / "bin" / "busybox").read_bytes(), files)
    archive = folder / "image.oci.tar"
    archive.write_bytes(_archive(name, layer, entrypoint))
    return archive


def _layer(busybox: bytes, files: dict[str, bytes]) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as tar:
        _add(tar, "bin/busybox", busybox)
        for name in _APPLETS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for path, content in files.items():
            _add(tar, path, content)
    return output.getvalue()


def _archive(name: str, layer: bytes, entrypoint: str) -> bytes:
    started = {"Entrypoint": [entrypoint]} if entrypoint else {}
    config = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "User": "10001:10001", **started},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    blobs: dict[str, bytes] = {}
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}.manifest.v1+json",
        "config": _blob(blobs, f"{_OCI}.config.v1+json", json.dumps(config).encode()),
        "layers": [_blob(blobs, f"{_OCI}.layer.v1.tar", layer)],
    }
    entry = _blob(blobs, f"{_OCI}.manifest.v1+json", json.dumps(manifest).encode())
    index = {
        "schemaVersion": 2,
        "manifests": [{**entry, "annotations": {"io.containerd.image.name": name}}],
    }
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        _add(tar, "index.json", json.dumps(index).encode())
        for path, content in blobs.items():
            _add(tar, path, content)
    return output.getvalue()


def _blob(blobs: dict[str, bytes], media_type: str, content: bytes) -> dict[str, object]:
    digest = hashlib.sha256(content).hexdigest()
    blobs[f"blobs/sha256/{digest}"] = content
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o755
    tar.addfile(member, io.BytesIO(content))
