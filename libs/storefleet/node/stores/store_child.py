"""Describe the process of a store, from its placement and its files."""

import asyncio
import secrets
import signal
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from storefleet.database.repositories.placements import Placement
from storefleet.engines.catalogue import EngineCatalogue
from storefleet.node.ports import is_free
from storefleet.node.private_files import change_tree_owner, read_json, write_json
from storefleet.node.processes.launcher import ChildProcess
from storefleet.node.stores.environments import EngineEnvironment
from storefleet.node.system_user import SystemAccount
from storefleet.runtimes.local.file_layout import FileLayout

STORE_RANK = 1

FindEnvironment = Callable[[str, str], EngineEnvironment | None]


class StoreChildFactory:
    """Makes the child processes of stores.

    Args:
        engines: The engines.
        find_environment: Returns the environment of an engine and version; None if it is not
            ready.
        file_layout: The paths that the node shares with the local runtime.
        stores_url: The stores' database server.
        account: The system account that the stores run as; None is the current user.
    """

    def __init__(
        self,
        *,
        engines: EngineCatalogue,
        find_environment: FindEnvironment,
        file_layout: FileLayout,
        stores_url: str,
        account: SystemAccount | None,
    ) -> None:
        self._engines = engines
        self._find_environment = find_environment
        self._file_layout = file_layout
        self._stores_url = stores_url
        self._account = account

    def get_log_file(self, store_id: str) -> Path:
        """Return the log file of a store."""
        return self._file_layout.log_file(store_id)

    def make_child(self, row: Placement) -> tuple[ChildProcess | None, str]:
        """Describe the process of a store.

        Args:
            row: The store's placement.

        Returns:
            The process and an empty text; or None and the reason why the store cannot run now.
        """
        engine = self._engines.find(row.engine)
        environment = self._find_environment(row.engine, row.engine_version)
        if engine is None or engine.local is None or environment is None:
            return None, (
                f"The engine {row.engine} {row.engine_version} is not ready on this machine. "
                "The local node prepares it when it starts; wait, or read the node's logs."
            )
        folder = self._file_layout.store_dir(row.store_id)
        config_file = self._file_layout.config_file(row.store_id)
        if not config_file.is_file():
            return None, "The store has no configuration."

        async def prepare() -> None:
            await asyncio.to_thread(self._prepare_start, row)

        child = ChildProcess(
            name=f"store-{row.store_id}",
            argv=environment.make_command(engine.local.serve),
            cwd=self._file_layout.files_dir(row.store_id),
            log_file=self._file_layout.log_file(row.store_id),
            env=environment.make_variables(
                STORE_CONFIG=str(config_file),
                STORE_ID=row.store_id,
                STORE_OPERATION_ID=row.operation_id,
                HOME=str(folder),
            ),
            rank=STORE_RANK,
            account=self._account,
            readable_paths=(folder, *environment.readable_paths),
            stop_signals=((signal.SIGTERM, 6.0),),
            prepare=prepare,
        )
        return child, ""

    def _prepare_start(self, row: Placement) -> None:
        if not is_free(row.port):
            raise OSError(f"port {row.port} is taken by another program")
        self._update_config(row.store_id)
        folder = self._file_layout.store_dir(row.store_id)
        owned = (
            folder,
            self._file_layout.config_file(row.store_id),
            self._file_layout.files_dir(row.store_id),
        )
        if self._account and any(path.lstat().st_uid != self._account.uid for path in owned):
            change_tree_owner(folder, self._account)

    def _update_config(self, store_id: str) -> None:
        """Update what may have changed in the store's configuration since its creation.

        The embedded database server may have another port. A store of an earlier version of the
        platform has no mail key.
        """
        path = self._file_layout.config_file(store_id)
        config, server = read_json(path), urlsplit(self._stores_url)
        address = {"host": server.hostname or "127.0.0.1", "port": server.port or 5432}
        if not config:
            return
        updated = {
            **config,
            "database": {**config["database"], **address},
            "mail_key": config.get("mail_key") or secrets.token_urlsafe(36),
        }
        if updated != config:
            write_json(path, updated, owner=self._account)
