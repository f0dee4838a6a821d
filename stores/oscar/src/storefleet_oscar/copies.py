"""Copy the template's files from the image to the store's folder; incomplete copies start over."""

import os
import shutil
from pathlib import Path

from storefleet_oscar.configuration import ConfigurationError, Store

DUMP = "dump.sql"
MIGRATIONS = "migrations.txt"
FILES = "files"


def get_template_folder(store: Store) -> Path:
    """Return the image's folder with the template; raises ConfigurationError if none is set."""
    if store.template_dir is None:
        raise ConfigurationError("the file that STORE_CONFIG names has no entry 'template_dir'")
    return store.template_dir


def copy_template_files(store: Store) -> None:
    """Copy the pictures, only if the store does not have that folder yet."""
    for source in sorted((get_template_folder(store) / FILES).iterdir()):
        target = store.data_dir / source.name
        if not target.exists():
            _copy_tree(source, target)


def _copy_tree(source: Path, target: Path) -> None:
    """Copy beside the target, flush, then rename: a folder under its final name is complete."""
    fresh = target.with_name(f".{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(source, fresh, copy_function=shutil.copyfile)
    for path in (fresh, *fresh.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
        sync_to_disk(path)
    fresh.rename(target)
    sync_to_disk(target.parent)


def sync_to_disk(path: Path) -> None:
    """Flush a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
