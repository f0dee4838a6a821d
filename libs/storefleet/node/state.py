"""The state folder of a local node: its paths, owner and lock, and the node that runs on it."""

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
    """The folder that holds everything of one local node, and the paths below it."""

    path: Path

    @property
    def admin_file(self) -> Path:
        """The file with the first owner's credentials; it exists while the platform is ready."""
        return self.path / "admin.json"

    @property
    def node_file(self) -> Path:
        """The file that describes the running node: its process and its ports."""
        return self.path / "node.json"

    @property
    def records_dir(self) -> Path:
        """The folder of the process records."""
        return self.path / "pids"

    @property
    def logs_dir(self) -> Path:
        """The folder of the logs of all processes but the stores'."""
        return self.path / "logs"

    @property
    def engines_dir(self) -> Path:
        """The folder of the engine environments and templates."""
        return self.path / "engines"

    @property
    def stores_dir(self) -> Path:
        """The folder of the stores' files."""
        return self.path / "stores"

    def log_file(self, name: str) -> Path:
        """Return the log file of a process."""
        return self.logs_dir / f"{name}.log"

    def secrets_dir(self, service: str) -> Path:
        """Return the folder of a service's secrets."""
        return self.path / "secrets" / service

    def create(self, account: SystemAccount | None) -> None:
        """Create the folders; the account may traverse them, but neither list nor read.

        Args:
            account: The system account; None if the node runs as a normal user.

        Raises:
            NodeError: A folder cannot be created.
        """
        try:
            for path in (self.path, self.engines_dir, self.stores_dir):
                create_traversable_folder(path, account)
            for path in (self.records_dir, self.logs_dir, self.path / "secrets"):
                create_folder(path)
        except OSError as error:
            raise NodeError(
                f"The state folder {self.path} cannot be created: {error.strerror}. "
                "Choose another folder with STOREFLEET_STATE_DIR."
            ) from None

    def check_owner(self) -> None:
        """Check that the folder does not belong to another user, before anything in it changes.

        Raises:
            NodeError: The folder belongs to another user.
        """
        if self.path.exists() and (owner := self.path.stat().st_uid) != os.geteuid():
            raise NodeError(
                f"The state folder {self.path} belongs to the user with the id {owner}, not to "
                f"the current user ({os.geteuid()}). Run as that user, or choose another folder "
                "with STOREFLEET_STATE_DIR."
            )

    def check_free_space(self) -> None:
        """Check that the disk has enough free space for the databases and logs of a run.

        Raises:
            NodeError: Less than 500 MB are free.
        """
        free = shutil.disk_usage(self.path).free
        if free < MIN_FREE_BYTES:
            raise NodeError(
                f"The disk of {self.path} has only {free >> 20} MB of free space; at least "
                f"{MIN_FREE_BYTES >> 20} MB are needed. Free some space, or choose another folder "
                "with STOREFLEET_STATE_DIR."
            )

    def acquire_lock(self) -> TextIO | None:
        """Lock the folder for one node; the kernel releases the lock when the process ends.

        Returns:
            The lock, held until the file is closed; None if another process holds it.

        Raises:
            NodeError: The folder belongs to another user.
        """
        try:
            file = (self.path / "lock").open("a", encoding="ascii")
        except PermissionError:
            raise NodeError(
                f"The state folder {self.path} cannot be locked because it belongs to another "
                "user. Run as that user."
            ) from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return file

    def read_node_file(self) -> dict[str, Any]:
        """Read the description of the last node; an empty object if there was none."""
        return read_json(self.node_file)

    def write_node_file(self, **content: Any) -> None:
        """Describe this process as the running node.

        Args:
            content: `ports` of the embedded servers and `services` with the services' ports.
        """
        own = find_process(os.getpid())
        started = own.start_ticks if own else 0
        write_json(
            self.node_file,
            {"pid": os.getpid(), "started": started, "boot": read_boot_id(), **content},
        )

    def find_running_node(self) -> ProcessIdentity | None:
        """Find the node that runs on this folder.

        Returns:
            Its process; None if none runs.
        """
        content = self.read_node_file()
        if content.get("boot") != read_boot_id():
            return None
        identity = ProcessIdentity(content["pid"], content["started"])
        return identity if identity.is_alive else None
