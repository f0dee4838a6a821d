"""The state folder: where everything is, who made it, and who runs on it now."""

import fcntl
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from storefleet.node.node_error import NodeError
from storefleet.node.private_files import (
    create_folder,
    create_traversable_folder,
    read_json,
    write_json,
)
from storefleet.node.processes.process_records import ProcessIdentity, find_process, read_boot_id
from storefleet.node.system_user import SystemAccount

MIN_FREE_BYTES = 500 * 1024 * 1024


@dataclass(frozen=True)
class StateFolder:
    """Paths below the state folder."""

    path: Path

    @property
    def admin_file(self) -> Path:
        return self.path / "admin.json"

    @property
    def node_file(self) -> Path:
        return self.path / "node.json"

    @property
    def records_dir(self) -> Path:
        return self.path / "pids"

    @property
    def logs_dir(self) -> Path:
        return self.path / "logs"

    @property
    def engines_dir(self) -> Path:
        return self.path / "engines"

    @property
    def stores_dir(self) -> Path:
        return self.path / "stores"

    def log_file(self, name: str) -> Path:
        return self.logs_dir / f"{name}.log"

    def secrets_dir(self, service: str) -> Path:
        return self.path / "secrets" / service

    def create(self, account: SystemAccount | None) -> None:
        """Make the folders; the account may pass through to what is given to it, and see nothing else."""
        try:
            for path in (self.path, self.engines_dir, self.stores_dir):
                create_traversable_folder(path, account)
            for path in (self.records_dir, self.logs_dir, self.path / "secrets"):
                create_folder(path)
        except OSError as error:
            raise NodeError(
                f"The state folder {self.path} cannot be made: {error.strerror}."
            ) from None

    def check_owner(self) -> None:
        """Refuse another user's folder before anything in it is touched."""
        if self.path.exists() and (owner := self.path.stat().st_uid) != os.geteuid():
            raise NodeError(
                f"The state folder {self.path} belongs to user number {owner}, and this is number {os.geteuid()}: "
                "run as that user, or choose another folder with STOREFLEET_STATE_DIR."
            )

    def check_free_space(self) -> None:
        """Refuse a disk on which everything would soon fail."""
        free = shutil.disk_usage(self.path).free
        if free < MIN_FREE_BYTES:
            raise NodeError(
                f"The disk of {self.path} has {free >> 20} MB left and at least {MIN_FREE_BYTES >> 20} MB are needed: "
                "make room, or choose another folder with STOREFLEET_STATE_DIR."
            )

    def acquire_lock(self) -> TextIO | None:
        """The lock, held for as long as the file is open, whatever kills its holder; None when another has it."""
        try:
            file = (self.path / "lock").open("a", encoding="ascii")
        except PermissionError:
            raise NodeError(
                f"The state folder {self.path} belongs to another user: run as that user."
            ) from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return file

    def read_node_file(self) -> dict[str, Any]:
        return read_json(self.node_file)

    def write_node_file(self, **content: Any) -> None:
        """Say who runs here: `ports` of the embedded servers, `services` with the ports of ours."""
        own = find_process(os.getpid())
        started = own.start_ticks if own else 0
        write_json(
            self.node_file,
            {"pid": os.getpid(), "started": started, "boot": read_boot_id(), **content},
        )

    def find_running_node(self) -> ProcessIdentity | None:
        """The node that runs on this folder now."""
        content = self.read_node_file()
        if content.get("boot") != read_boot_id():
            return None
        identity = ProcessIdentity(content["pid"], content["started"])
        return identity if identity.is_alive else None
