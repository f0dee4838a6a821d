"""Write reproducible layers and archives in the format of the OCI image specification.

The same content gives the same bytes, so a digest identifies content across builds.
"""

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
#: Modification time of built files (2026-01-01); files of Debian packages keep theirs.
MTIME = 1_767_225_600
CREATED = "2026-01-01T00:00:00Z"
COMPRESSION_LEVEL = 6
ARCHITECTURE = "amd64"
NAME_ANNOTATION = "io.containerd.image.name"


@dataclass(frozen=True)
class Layer:
    """A compressed tar in the cache: `digest` of the file, `diff_id` of the uncompressed tar."""

    name: str
    path: Path
    digest: str
    diff_id: str
    size_bytes: int
    unpacked_bytes: int

    def to_json(self) -> dict[str, Any]:
        """Convert to a record for the cache; the path is stored as a file name."""
        return {**asdict(self), "path": self.path.name}


@dataclass(frozen=True, kw_only=True)
class Image:
    """Layers and configuration of an image; containerd lists it under `reference`."""

    reference: str
    layers: tuple[Layer, ...]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    user: str
    working_directory: str
    environment: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)


class _HashingWriter:
    """A binary writer that computes the hash and the size of everything written."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size_bytes += len(data)
        return self._target.write(data)

    def flush(self) -> None:
        self._target.flush()


def pack_layer(
    folder: Path, *, name: str, target: Path, preserve_mtime_before: float | None = None
) -> Layer:
    """Pack a folder as a layer: owned by root, entries in the order of their names.

    Files modified before `preserve_mtime_before` (Unix time) keep their modification time.
    """
    with open_atomically(target) as file:
        outer = _HashingWriter(file)
        with gzip.GzipFile("", "wb", COMPRESSION_LEVEL, outer, mtime=0) as compressed:
            inner: Any = _HashingWriter(compressed)  # type: ignore[arg-type]
            with tarfile.open(fileobj=inner, mode="w|", format=tarfile.PAX_FORMAT) as archive:
                for path in walk_sorted(folder):
                    _add_entry(archive, path, str(path.relative_to(folder)), preserve_mtime_before)
    return Layer(name, target, outer.digest, inner.digest, outer.size_bytes, inner.size_bytes)


def walk_sorted(folder: Path) -> Iterator[Path]:
    """Iterate over all entries below a folder, sorted, parents first."""
    for path in sorted(folder.iterdir()):
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from walk_sorted(path)


def _add_entry(
    archive: tarfile.TarFile, path: Path, name: str, preserve_mtime_before: float | None
) -> None:
    entry = archive.gettarinfo(path, name)
    if entry is None or not (entry.isfile() or entry.isdir() or entry.issym() or entry.islnk()):
        return  # the container runtime creates devices and sockets
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    kept = preserve_mtime_before is not None and entry.mtime < preserve_mtime_before
    entry.mtime = int(entry.mtime) if kept else MTIME
    if entry.isfile():
        with path.open("rb") as content:
            archive.addfile(entry, content)
    else:
        archive.addfile(entry)


def compute_image_digest(image: Image) -> str:
    """Compute the digest of the image's manifest, which identifies all of its content."""
    return _compute_digest(_encode_json(_make_manifest(image, _encode_json(_make_config(image)))))


def write_archive(image: Image, target: Path) -> None:
    """Write an OCI layout as one tar, for `ctr images import`, skopeo or podman."""
    config = _encode_json(_make_config(image))
    manifest = _encode_json(_make_manifest(image, config))
    index = _encode_json(_make_index(image, manifest))
    blobs: dict[str, bytes | Path] = {
        _compute_digest(config): config,
        _compute_digest(manifest): manifest,
    }
    blobs |= {layer.digest: layer.path for layer in image.layers}
    with (
        open_atomically(target) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        _add_blob(archive, "oci-layout", _encode_json({"imageLayoutVersion": "1.0.0"}))
        _add_blob(archive, "index.json", index)
        for digest, content in sorted(blobs.items()):
            _add_blob(archive, make_blob_name(digest), content)


def make_blob_name(digest: str) -> str:
    """Return the path of a blob inside an OCI image layout."""
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _make_config(image: Image) -> dict[str, Any]:
    return {
        "architecture": ARCHITECTURE,
        "os": "linux",
        "created": CREATED,
        "config": {
            "User": image.user,
            "WorkingDir": image.working_directory,
            "Env": [f"{name}={value}" for name, value in sorted(image.environment.items())],
            "Entrypoint": list(image.entrypoint),
            "Cmd": list(image.command),
            "Labels": image.labels,
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in image.layers]},
        "history": [
            {"created": CREATED, "created_by": f"storefleet: {layer.name}"}
            for layer in image.layers
        ],
    }


def _make_manifest(image: Image, config: bytes) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _make_descriptor(CONFIG_TYPE, _compute_digest(config), len(config)),
        "layers": [
            _make_descriptor(LAYER_TYPE, layer.digest, layer.size_bytes) for layer in image.layers
        ],
    }


def _make_index(image: Image, manifest: bytes) -> dict[str, Any]:
    entry = _make_descriptor(MANIFEST_TYPE, _compute_digest(manifest), len(manifest))
    entry["platform"] = {"architecture": ARCHITECTURE, "os": "linux"}
    tag = image.reference.rpartition(":")[2]
    entry["annotations"] = {
        NAME_ANNOTATION: image.reference,
        "org.opencontainers.image.ref.name": tag,
    }
    return {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [entry]}


def _make_descriptor(kind: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest, "size": size}


def _add_blob(archive: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    entry = tarfile.TarInfo(name)
    entry.mtime = MTIME
    if isinstance(content, Path):
        entry.size = content.stat().st_size
        with content.open("rb") as file:
            archive.addfile(entry, file)
    else:
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))


def _encode_json(content: object) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _compute_digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@contextmanager
def open_atomically(target: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that replaces `target` only after it was written completely."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        with fresh.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)


def read_index_entry(archive: tarfile.TarFile) -> dict[str, Any]:
    """Read the index entry of an archive's only image, with its digest and annotations.

    Raises KeyError when the archive does not contain exactly one image.
    """
    file = archive.extractfile("index.json")
    if file is None:
        raise KeyError("index.json")
    manifests = json.loads(file.read())["manifests"]
    if len(manifests) != 1:
        raise KeyError("manifests")
    return dict(manifests[0])


def read_reference(archive: Path) -> str:
    """Read the image name from an archive."""
    with tarfile.open(archive) as opened:
        return str(read_index_entry(opened)["annotations"][NAME_ANNOTATION])


def unpack_layers(layers: Iterable[Layer], folder: Path) -> None:
    """Unpack layers over each other into an empty folder; layers must not delete files."""
    for layer in layers:
        with tarfile.open(layer.path, "r:gz") as archive:
            archive.extractall(folder, numeric_owner=True)  # noqa: S202 - written by this build
