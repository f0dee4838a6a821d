"""Layers that were built before, by the hash of what they are made of."""

import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.images.oci import Layer, open_atomically, pack_layer, walk_sorted

KEY_LENGTH = 20


class CacheKey:
    """A hash that grows by what an output depends on."""

    def __init__(self, *words: object) -> None:
        self._hash = hashlib.sha256(repr((words, sys.version_info[:2])).encode())

    def add_file(self, path: Path, name: str | None = None) -> "CacheKey":
        self._hash.update(f"\0{name or path.name}\0{path.stat().st_mode & 0o111}\0".encode())
        self._hash.update(hashlib.sha256(path.read_bytes()).digest())
        return self

    def add_tree(self, folder: Path) -> "CacheKey":
        """Every file below a folder, compiled ones excepted."""
        for path in walk_sorted(folder):
            if path.is_file() and "__pycache__" not in path.parts:
                self.add_file(path, str(path.relative_to(folder)))
        return self

    def add_layer(self, layer: Layer) -> "CacheKey":
        self._hash.update(layer.digest.encode())
        return self

    def __str__(self) -> str:
        return self._hash.hexdigest()[:KEY_LENGTH]


class LayerCache:
    """A folder of finished layers, a log, and room for work that vanishes; one build at a time has it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.log = folder / "build.log"

    @classmethod
    def for_current_user(cls) -> "LayerCache":
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return cls(Path(home) / "storefleet" / "images")

    @contextmanager
    def hold_lock(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.log.write_bytes(b"")
            for left in self._folder.glob("work-*"):
                shutil.rmtree(left, ignore_errors=True)
            yield

    @contextmanager
    def create_work_folder(self) -> Iterator[Path]:
        with TemporaryDirectory(prefix="work-", dir=self._folder) as name:
            room = Path(name)
            room.chmod(0o755)
            yield room

    def find_layer(self, name: str, key: CacheKey) -> Layer | None:
        record = self._folder / f"{name}-{key}.json"
        try:
            content = json.loads(record.read_text(encoding="utf-8"))
            layer = Layer(**{**content, "path": self._folder / content["path"]})
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return (
            layer
            if layer.path.is_file() and layer.path.stat().st_size == layer.size_bytes
            else None
        )

    def store_layer(
        self, folder: Path, *, name: str, key: CacheKey, preserve_mtime_before: float | None = None
    ) -> Layer:
        """Pack a folder, and forget what was kept under the same name for other inputs."""
        layer = pack_layer(
            folder,
            name=name,
            target=self._folder / f"{name}-{key}.tar.gz",
            preserve_mtime_before=preserve_mtime_before,
        )
        with open_atomically(self._folder / f"{name}-{key}.json") as file:
            file.write(json.dumps(layer.to_json()).encode())
        sign = "[0-9a-f]" * KEY_LENGTH  # names may begin with each other
        for old in self._folder.glob(f"{name}-{sign}.*"):
            if f"-{key}." not in old.name:
                old.unlink(missing_ok=True)
        return layer
