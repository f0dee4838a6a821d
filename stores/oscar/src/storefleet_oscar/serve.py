"""`serve`: one interpreter that brings the store up to its configuration, then answers requests until SIGTERM."""

import gc
import os
import sys
import time
from pathlib import Path
from typing import Any

import django
from gunicorn.app.base import BaseApplication

from storefleet_oscar import configuration, copies, logs
from storefleet_oscar.configuration import Store

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the worker's heartbeat file has no name there
SETUP_PAUSE = 0.1


class StoreServer(BaseApplication):  # type: ignore[misc]
    """gunicorn in this process: one worker, four threads, on loopback or, in a container, where it is told."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._worker: Any = None
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._settings().items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Set the shop up, in the worker: the master stays small, and shares little with it when it does not."""
        django.setup()
        logs.adopt("haystack")
        if self._store.template_dir is not None:
            from storefleet_oscar import restore

            restore.wait(self._store, pulse=self._pulse, pause=lambda: time.sleep(SETUP_PAUSE))
        prepare(self._store)
        from storefleet_oscar.wsgi import Shop

        shop = Shop()
        gc.freeze()
        gc.enable()
        return shop

    def _remember(self, _master: Any, worker: Any) -> None:
        self._worker = worker

    def _pulse(self) -> None:
        """The master ends a worker that is silent; and one that was told to end has nothing to wait for."""
        self._worker.notify()
        if not self._worker.alive:
            sys.exit(0)

    def _settings(self) -> dict[str, Any]:
        shared = SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK)
        return {
            "bind": f"{self._store.address}:{self._store.port}",
            "proc_name": f"store {self._store.store_id}",
            "workers": 1,
            "worker_class": "gthread",
            "threads": 4,
            "worker_connections": 200,
            "backlog": 128,
            "post_fork": self._remember,
            "timeout": 90,  # longer than the wait for a database at start
            "graceful_timeout": 3,
            "keepalive": 1,  # a page and what belongs to it; longer ones would hold up the end
            "worker_tmp_dir": str(SHARED_MEMORY if shared else self._store.data_dir),
            "control_socket_disable": True,
            "logger_class": logs.AccessLog,
            "accesslog": "-",
            "errorlog": "-",
        }


def serve() -> int:
    store = configuration.current()
    logs.configure()
    for folder in (store.data_dir / "uploads", store.mail_dir):
        folder.mkdir(parents=True, exist_ok=True)
    if store.template_dir is not None:
        copies.copy_files(store)
    StoreServer(store).run()
    return 0


def prepare(store: Store) -> None:
    """Converge, as soon as the database answers."""
    from django.db import connections

    from storefleet_oscar.converge import converge, wait_for_database

    wait_for_database()
    converge(store)
    connections.close_all()  # they belong to this thread, and requests are answered by others
