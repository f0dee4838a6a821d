"""Cache of finished image layers, found by the hash of their inputs."""

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
    """A hash of everything that a layer depends on; each `add_…` method returns the key itself."""

    def __init__(self, *words: object) -> None:
        self._hash = hashlib.sha256(repr((words, sys.version_info[:2])).encode())

    def add_file(self, path: Path, name: str | None = None) -> "CacheKey":
        """Add a file's name, content and executable bits."""
        self._hash.update(f"\0{name or path.name}\0{path.stat().st_mode & 0o111}\0".encode())
        self._hash.update(hashlib.sha256(path.read_bytes()).digest())
        return self

    def add_tree(self, folder: Path) -> "CacheKey":
        """Add every file below a folder, except compiled Python files."""
        for path in walk_sorted(folder):
            if path.is_file() and "__pycache__" not in path.parts:
                self.add_file(path, str(path.relative_to(folder)))
        return self

    def add_layer(self, layer: Layer) -> "CacheKey":
        """Add a finished layer, by its digest."""
        self._hash.update(layer.digest.encode())
        return self

    def __str__(self) -> str:
        return self._hash.hexdigest()[:KEY_LENGTH]


class LayerCache:
    """A folder of finished layers with their records, a build log and temporary work folders.

    Only one build at a time uses it: see `hold_lock`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.log = folder / "build.log"

    @classmethod
    def for_current_user(cls) -> "LayerCache":
        """Open the cache of the current user, below XDG_CACHE_HOME."""
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return cls(Path(home) / "storefleet" / "images")

    @contextmanager
    def hold_lock(self) -> Iterator[None]:
        """Wait for other builds, then empty the log and remove folders of killed builds."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.log.write_bytes(b"")
            for folder in self._folder.glob("work-*"):
                shutil.rmtree(folder, ignore_errors=True)
            yield

    @contextmanager
    def create_work_folder(self) -> Iterator[Path]:
        """Create a folder that is removed at the end of the `with` block."""
        with TemporaryDirectory(prefix="work-", dir=self._folder) as name:
            folder = Path(name)
            folder.chmod(0o755)
            yield folder

    def find_layer(self, name: str, key: CacheKey) -> Layer | None:
        """Find a finished layer; return None unless its file exists in full."""
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
        """Pack a folder as a layer and remove layers of the same name with other keys."""
        layer = pack_layer(
            folder,
            name=name,
            target=self._folder / f"{name}-{key}.tar.gz",
            preserve_mtime_before=preserve_mtime_before,
        )
        with open_atomically(self._folder / f"{name}-{key}.json") as file:
            file.write(json.dumps(layer.to_json()).encode())
        key_pattern = "[0-9a-f]" * KEY_LENGTH  # one name can be the prefix of another
        for old in self._folder.glob(f"{name}-{key_pattern}.*"):
            if f"-{key}." not in old.name:
                old.unlink(missing_ok=True)
        return layer
