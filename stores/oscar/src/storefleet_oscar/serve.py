"""`serve`: apply the configuration to the store, then answer requests until SIGTERM."""

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

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the worker's heartbeat file is unlinked there
SETUP_POLL_INTERVAL_S = 0.1


class StoreServer(BaseApplication):  # type: ignore[misc]
    """gunicorn in this process: one worker with four threads, bound to the configured address."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._worker: Any = None
        super().__init__()

    def load_config(self) -> None:
        """Apply the settings; gunicorn calls it."""
        for name, value in self._build_settings().items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Set Django up and return the WSGI application; gunicorn calls it in the worker.

        Loading in the worker keeps the master small: it has no use for Django, and copy-on-write
        would share little of it.
        """
        django.setup()
        logs.remove_handlers("haystack")
        if self._store.template_dir is not None:
            from storefleet_oscar import template_restore

            template_restore.wait_for_setup(
                self._store,
                send_heartbeat=self._send_heartbeat,
                pause=lambda: time.sleep(SETUP_POLL_INTERVAL_S),
            )
        prepare_store(self._store)
        from storefleet_oscar.wsgi import StoreApplication

        application = StoreApplication()
        gc.freeze()
        gc.enable()
        return application

    def _keep_worker(self, _master: Any, worker: Any) -> None:
        self._worker = worker

    def _send_heartbeat(self) -> None:
        """Keep the master from killing a waiting worker; exit if a signal asked it to stop."""
        self._worker.notify()
        if not self._worker.alive:
            sys.exit(0)

    def _build_settings(self) -> dict[str, Any]:
        has_shared_memory = SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK)
        return {
            "bind": f"{self._store.address}:{self._store.port}",
            "proc_name": f"store {self._store.store_id}",
            "workers": 1,
            "worker_class": "gthread",
            "threads": 4,
            "worker_connections": 200,
            "backlog": 128,
            "post_fork": self._keep_worker,
            "timeout": 90,  # longer than the wait for a database at start-up
            "graceful_timeout": 3,
            # Enough for a page and its files; a longer one would delay the shutdown.
            "keepalive": 1,
            "worker_tmp_dir": str(SHARED_MEMORY if has_shared_memory else self._store.data_dir),
            "control_socket_disable": True,
            "logger_class": logs.GunicornLogger,
            "accesslog": "-",
            "errorlog": "-",
        }


def serve_store() -> int:
    """Serve the store until SIGTERM and return the exit status."""
    store = configuration.load_store()
    logs.configure_logging()
    for folder in (store.data_dir / "uploads", store.mail_dir):
        folder.mkdir(parents=True, exist_ok=True)
    if store.template_dir is not None:
        copies.copy_template_files(store)
    StoreServer(store).run()
    return 0


def prepare_store(store: Store) -> None:
    """Wait for the database and apply the store's configuration to it."""
    from django.db import connections

    from storefleet_oscar.converge import converge_store, wait_for_database

    wait_for_database()
    converge_store(store)
    connections.close_all()  # they belong to this thread; other threads answer requests
