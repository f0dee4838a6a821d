"""A local store's files: configuration, content, log. All methods block; call them in a thread."""

import json
import os
import pwd
import shutil
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

from storefleet.runtimes.local.file_layout import FileLayout, StoreTemplate, read_json

_MAX_LOG_TAIL_BYTES = 512 * 1024


class StoreFiles:
    """Writes and deletes the files of local stores."""

    def __init__(self, *, layout: FileLayout, owner: str | None) -> None:
        """Create the adapter.

        Args:
            layout: Where the files are.
            owner: The system user that stores run as, when the services run as root.
        """
        self._layout = layout
        self._owner = owner

    def read_config(self, store_id: str) -> dict[str, Any] | None:
        """Read a store's configuration; None if there is none."""
        return read_json(self._layout.config_file(store_id))

    def write_config(self, store_id: str, config: dict[str, Any]) -> None:
        """Write a store's configuration, mode 0600, completely or not at all."""
        path = self._layout.config_file(store_id)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._layout.mail_dir(store_id).mkdir(mode=0o700, exist_ok=True)
        _write_private_json(path, config)
        self._change_owner(path.parent)

    def copy_template(self, store_id: str, template: StoreTemplate) -> None:
        """Copy the template's files, unless an earlier attempt has done so."""
        files_dir = self._layout.files_dir(store_id)
        if files_dir.exists():
            return
        partial = files_dir.with_name("files.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(template.files, partial)
        self._change_owner(partial)
        partial.rename(files_dir)

    def delete(self, store_id: str) -> None:
        """Delete a store's folder and its logs."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self._layout.store_dir(store_id))
        for path in self._layout.list_log_files(store_id):
            path.unlink(missing_ok=True)

    def list_leftovers(self, store_id: str) -> list[str]:
        """List the names of what is left of a store's files."""
        paths = (self._layout.store_dir(store_id), *self._layout.list_log_files(store_id))
        return [path.name for path in paths if path.exists()]

    def read_log_tail(self, store_id: str, lines: int) -> list[str]:
        """Read the last lines of a store's log, oldest first; empty if there is no log."""
        path = self._layout.log_file(store_id)
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _MAX_LOG_TAIL_BYTES))
                decoded = (raw.decode(errors="replace").rstrip("\n") for raw in file)
                return list(deque(decoded, maxlen=lines))
        except FileNotFoundError:
            return []

    def _change_owner(self, path: Path) -> None:
        """Give a tree to the stores' system user.

        A store's code may have left symbolic links here, so they are never followed.
        """
        if not self._owner:
            return
        entry = pwd.getpwnam(self._owner)
        for _, folders, files, descriptor in os.fwalk(path):
            for name in (".", *folders, *files):
                os.chown(name, entry.pw_uid, entry.pw_gid, dir_fd=descriptor, follow_symlinks=False)


def _write_private_json(path: Path, content: dict[str, Any]) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
