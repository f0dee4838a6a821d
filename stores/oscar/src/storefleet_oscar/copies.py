"""The template's files, from where an image carries them into a store's folder; begun copies are made anew."""

import os
import shutil
from pathlib import Path

from storefleet_oscar.configuration import ConfigurationError, Store

DUMP = "dump.sql"
MIGRATIONS = "migrations.txt"
FILES = "files"


def template_folder(store: Store) -> Path:
    """Where the image keeps the template; raises ConfigurationError where there is none."""
    if store.template_dir is None:
        raise ConfigurationError("the file that STORE_CONFIG names has no entry 'template_dir'")
    return store.template_dir


def copy_files(store: Store) -> None:
    """Pictures and search index, each folder that the store does not have yet."""
    for source in sorted((template_folder(store) / FILES).iterdir()):
        target = store.data_dir / source.name
        if not target.exists():
            _copy_tree(source, target)


def _copy_tree(source: Path, target: Path) -> None:
    """A folder that is there is complete, on the disk too."""
    fresh = target.with_name(f".{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(source, fresh, copy_function=shutil.copyfile)
    for path in (fresh, *fresh.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
        _sync(path)
    fresh.rename(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
