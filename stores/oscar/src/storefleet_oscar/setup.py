"""`setup`: fill an empty database from the image, or migrate one of an older version.

STORE_SETUP_MODE is `install` for a new store, and `update` for one that belongs to its owner.
"""

import logging
import os
import time

import django
import psycopg
from django.db import DataError, IntegrityError, OperationalError, ProgrammingError, connection

from storefleet_oscar import configuration, copies, logs, template_restore
from storefleet_oscar.configuration import Store

MODE_VARIABLE = "STORE_SETUP_MODE"
INSTALL, UPDATE = "install", "update"

_log = logging.getLogger(__name__)


class DatabaseUnavailable(Exception):
    """The database did not answer within the timeout; a retry may succeed."""


def set_up_store() -> None:
    """Set the store's database up; idempotent, and safe to kill and run again at any point.

    Raises DatabaseUnavailable if a retry may succeed, template_restore.SetupError if it cannot.
    """
    started = time.monotonic()
    mode = os.environ.get(MODE_VARIABLE, INSTALL)
    if mode not in (INSTALL, UPDATE):
        raise configuration.ConfigurationError(f"{MODE_VARIABLE} is neither install nor update")
    store = configuration.load_store()
    copies.get_template_folder(store)
    logs.configure_logging()
    django.setup()  # while the database starts
    try:
        _prepare_database(store, mode)
    except (OperationalError, psycopg.OperationalError) as error:
        place = f"{store.database.host}:{store.database.port}"
        raise DatabaseUnavailable(
            f"The database at {place} does not answer or closed the connection"
            f" ({' '.join(str(error).split())}). Look at the log of the database. The set-up can be"
            " run again at any time."
        ) from None
    fields = {"seconds": round(time.monotonic() - started, 2)}
    _log.info("Set-up finished", extra={"fields": fields})


def _prepare_database(store: Store, mode: str) -> None:
    from storefleet_oscar.converge import install_store, wait_for_database

    wait_for_database()
    if mode == INSTALL:
        is_new = template_restore.restore_template(store)
        _log.info("Tables and products restored" if is_new else "Tables and products exist already")
    else:
        template_restore.require_tables(store)
    if missing := template_restore.list_missing_migrations(store):
        _migrate_tables(len(missing))
    if mode == INSTALL:
        install_store(store)


def _migrate_tables(migration_count: int) -> None:
    """Apply this version's migrations while the older version keeps serving.

    Raises template_restore.SetupError if the tables are not those that a migration expects.
    """
    from django.core.management import call_command
    from django.db.migrations.exceptions import InconsistentMigrationHistory

    _log.info("Migrating the tables", extra={"fields": {"migrations": migration_count}})
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (template_restore.SETUP_LOCK,))
        try:
            call_command("migrate", interactive=False, verbosity=0)
        except (DataError, IntegrityError, ProgrammingError, InconsistentMigrationHistory) as error:
            reason = " ".join(str(error).split())[:500]
            raise template_restore.SetupError(
                f"The tables of this store cannot be migrated to this version ({reason})."
                " The store's data is unchanged. Report the reason, or restore a dump."
            ) from error
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", (template_restore.SETUP_LOCK,))
