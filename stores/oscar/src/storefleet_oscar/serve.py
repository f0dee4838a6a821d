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
    (store.data_dir / "uploads").mkdir(parents=True, exist_ok=True)
    if store.template_dir is not None:
        copies.copy_template_files(store)
    StoreServer(store).run()
    return 0


def prepare_store(store: Store) -> None:
    """Wait for the database and prepare the store in it.

    In a container the set-up has done most of this before. On the local runtime this is the
    set-up: a new store is a copy of the template, an older one may lack tables.
    """
    from django.db import connections

    from storefleet_oscar import converge
    from storefleet_oscar.migration_state import list_missing_migrations

    converge.wait_for_database()
    if store.template_dir is None:
        if list_missing_migrations():
            from django.core.management import call_command

            call_command("migrate", interactive=False, verbosity=0)
        converge.install_store(store)
    converge.follow_address(store)
    converge.read_currency(store)
    connections.close_all()  # they belong to this thread; other threads answer requests
