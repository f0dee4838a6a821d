"""Write files atomically, read them, and lock folders."""

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.devcluster.errors import ClusterError


def write_text(path: Path, content: str, *, mode: int = 0o600) -> None:
    """Write a file unless it has this content and mode; a kill leaves the old content."""
    if (
        path.is_file()
        and path.read_text(encoding="utf-8") == content
        and path.stat().st_mode & 0o777 == mode
    ):
        return
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    temporary.replace(path)


def write_json(path: Path, content: Any, *, mode: int = 0o600) -> None:
    """Write JSON like `write_text`."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n", mode=mode)


def read_json(path: Path) -> Any:
    """Read JSON from a file; return None when the file does not exist."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ClusterError(
            f"{path} is damaged ({error}). `bare-cluster reset` removes the cluster and the file."
        ) from error


def read_last_line(path: Path) -> str:
    """Read the last line of a log, at most 500 characters; return '' when there is none."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        lines = file.read().decode(errors="replace").strip().splitlines()
        return lines[-1][-500:] if lines else ""
    return ""


@contextlib.contextmanager
def lock_folder(folder: Path, *, purpose: str) -> Iterator[None]:
    """Hold a lock on the folder itself, so that no lock file is left; wait for other holders."""
    while True:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _acquire_lock(descriptor, folder, purpose)
            if _is_same_folder(descriptor, folder):
                yield
                return
            folder.mkdir(parents=True, exist_ok=True)
        finally:
            os.close(descriptor)


def _acquire_lock(descriptor: int, folder: Path, purpose: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(
            f"bare-cluster: waiting to {purpose}: another command is running in {folder}",
            flush=True,
        )
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _is_same_folder(descriptor: int, folder: Path) -> bool:
    """Return whether the locked folder was not removed and recreated while waiting for the lock."""
    try:
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except FileNotFoundError:
        return False
