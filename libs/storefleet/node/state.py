"""The state folder: where everything is, who made it, and who runs on it now."""

import fcntl
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from storefleet.node.node_error import NodeError
from storefleet.node.private_files import make_folder, pass_folder, read_json, write_json
from storefleet.node.processes.process_records import Identity, boot_id, identify
from storefleet.node.system_user import Account

ENOUGH = 500 * 1024 * 1024


@dataclass(frozen=True)
class State:
    """Paths below the state folder."""

    folder: Path

    @property
    def admin(self) -> Path:
        return self.folder / "admin.json"

    @property
    def node(self) -> Path:
        return self.folder / "node.json"

    @property
    def records(self) -> Path:
        return self.folder / "pids"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def engines(self) -> Path:
        return self.folder / "engines"

    @property
    def stores(self) -> Path:
        return self.folder / "stores"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def secrets(self, service: str) -> Path:
        return self.folder / "secrets" / service

    def make(self, account: Account | None) -> None:
        """Make the folders; the account may pass through to what is given to it, and see nothing else."""
        try:
            for path in (self.folder, self.engines, self.stores):
                pass_folder(path, account)
            for path in (self.records, self.logs, self.folder / "secrets"):
                make_folder(path)
        except OSError as error:
            raise NodeError(
                f"The state folder {self.folder} cannot be made: {error.strerror}."
            ) from None

    def check_owner(self) -> None:
        """Refuse another user's folder before anything in it is touched."""
        if self.folder.exists() and (owner := self.folder.stat().st_uid) != os.geteuid():
            raise NodeError(
                f"The state folder {self.folder} belongs to user number {owner}, and this is number {os.geteuid()}: "
                "run as that user, or choose another folder with STOREFLEET_STATE_DIR."
            )

    def check_room(self) -> None:
        """Refuse a disk on which everything would soon fail."""
        free = shutil.disk_usage(self.folder).free
        if free < ENOUGH:
            raise NodeError(
                f"The disk of {self.folder} has {free >> 20} MB left and at least {ENOUGH >> 20} MB are needed: "
                "make room, or choose another folder with STOREFLEET_STATE_DIR."
            )

    def lock(self) -> TextIO | None:
        """The lock, held for as long as the file is open, whatever kills its holder; None when another has it."""
        try:
            file = (self.folder / "lock").open("a", encoding="ascii")
        except PermissionError:
            raise NodeError(
                f"The state folder {self.folder} belongs to another user: run as that user."
            ) from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return file

    def read_node(self) -> dict[str, Any]:
        return read_json(self.node)

    def write_node(self, **content: Any) -> None:
        """Say who runs here: `ports` of the embedded servers, `services` with the ports of ours."""
        own = identify(os.getpid())
        started = own.started if own else 0
        write_json(
            self.node, {"pid": os.getpid(), "started": started, "boot": boot_id(), **content}
        )

    def running(self) -> Identity | None:
        """The node that runs on this folder now."""
        content = self.read_node()
        if content.get("boot") != boot_id():
            return None
        identity = Identity(content["pid"], content["started"])
        return identity if identity.alive else None
