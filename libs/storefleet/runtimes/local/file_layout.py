"""The file layout below the state folder, shared by the local runtime and the local node."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from storefleet.core.identifiers import make_resource_name


class StoreTemplate(NamedTuple):
    """What stores of an engine version are copied from.

    The node writes its record when the template is complete.

    Attributes:
        version: The engine's version.
        database: The template database.
        role: The role that owns everything in it.
        files: The folder that is copied.
    """

    version: str
    database: str
    role: str
    files: Path


class FileLayout:
    """Paths of stores, logs and templates."""

    def __init__(self, state_dir: Path) -> None:
        self.stores_dir = state_dir / "stores"
        self.logs_dir = state_dir / "logs"
        self.engines_dir = state_dir / "engines"

    def store_dir(self, store_id: str) -> Path:
        """Return the folder of everything but the logs of a store."""
        return self.stores_dir / store_id

    def config_file(self, store_id: str) -> Path:
        """Return the file (0600) that the store's process reads: address, database, secrets."""
        return self.store_dir(store_id) / "store.json"

    def files_dir(self, store_id: str) -> Path:
        """Return the folder of the store's own files, copied from the template."""
        return self.store_dir(store_id) / "files"

    def mail_dir(self, store_id: str) -> Path:
        """Return the folder of the store's e-mails."""
        return self.store_dir(store_id) / "mail"

    def log_file(self, store_id: str) -> Path:
        """Return the current log of the store's process."""
        return self.logs_dir / f"store-{store_id}.log"

    def list_log_files(self, store_id: str) -> list[Path]:
        """List the current log and the rotated ones."""
        return sorted(self.logs_dir.glob(f"store-{store_id}.log*"))

    def template_record_file(self, engine: str, version: str) -> Path:
        """Return the file that records a complete template."""
        return self.engines_dir / engine / f"{version}.json"

    def read_template(self, engine: str, version: str) -> StoreTemplate | None:
        """Read a template's record; None while the node has not prepared the template."""
        record = read_json(self.template_record_file(engine, version))
        if record is None:
            return None
        return StoreTemplate(
            record["version"], record["database"], record["role"], Path(record["files"])
        )


def make_database_name(store_id: str) -> str:
    """Derive the name of a store's database and role; both have the same."""
    return make_resource_name(store_id).replace("-", "_")


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON file; None if it does not exist or is incomplete."""
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return content
