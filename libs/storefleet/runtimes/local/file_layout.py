"""Where the local runtime, the node and the gateway find a store's files: one layout, agreed here."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from storefleet.core.identifiers import make_resource_name


class StoreTemplate(NamedTuple):
    """What every store of an engine version is copied from; the node writes it down when it is complete."""

    version: str
    database: str
    role: str
    files: Path


class FileLayout:
    """Paths below the state folder."""

    def __init__(self, state_dir: Path) -> None:
        self.stores_dir = state_dir / "stores"
        self.logs_dir = state_dir / "logs"
        self.engines_dir = state_dir / "engines"

    def store_dir(self, store_id: str) -> Path:
        return self.stores_dir / store_id

    def config_file(self, store_id: str) -> Path:
        """The 0600 file that a store process reads: address, database, secrets."""
        return self.store_dir(store_id) / "store.json"

    def files_dir(self, store_id: str) -> Path:
        return self.store_dir(store_id) / "files"

    def mail_dir(self, store_id: str) -> Path:
        return self.store_dir(store_id) / "mail"

    def log_file(self, store_id: str) -> Path:
        return self.logs_dir / f"store-{store_id}.log"

    def list_log_files(self, store_id: str) -> list[Path]:
        """The log and what rotation has left of it."""
        return sorted(self.logs_dir.glob(f"store-{store_id}.log*"))

    def template_record_file(self, engine: str, version: str) -> Path:
        return self.engines_dir / engine / f"{version}.json"

    def read_template(self, engine: str, version: str) -> StoreTemplate | None:
        """The template, or None while the node has not prepared it."""
        record = read_json(self.template_record_file(engine, version))
        if record is None:
            return None
        return StoreTemplate(
            record["version"], record["database"], record["role"], Path(record["files"])
        )


def make_database_name(store_id: str) -> str:
    """The store's database and role; the same word for both."""
    return make_resource_name(store_id).replace("-", "_")


def read_json(path: Path) -> dict[str, Any] | None:
    """The file's content, or None when there is no (whole) file."""
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return content
