"""`setup`: make an empty database a shop from what the image carries, and bring it to the store's configuration."""

import logging
import time

import django
import psycopg
from django.db import OperationalError, connection

from storefleet_oscar import configuration, copies, logs, restore
from storefleet_oscar.configuration import Store

_log = logging.getLogger(__name__)


class DatabaseAway(Exception):
    """There was no answer for as long as is waited for one; another try may do."""


def set_up() -> None:
    """Ends with the same database however often it is run, and wherever an earlier run was killed.

    Raises DatabaseAway, and restore.SetupError when it would be in vain to try again.
    """
    started = time.monotonic()
    store = configuration.current()
    copies.template_folder(store)
    logs.configure()
    django.setup()  # while the database starts
    logs.adopt("haystack")
    try:
        _fill(store)
    except (OperationalError, psycopg.OperationalError) as error:
        place = f"{store.database.host}:{store.database.port}"
        raise DatabaseAway(
            f"The database at {place} does not answer, or breaks off ({' '.join(str(error).split())}): look at the "
            "database's own log. The set-up may be run again at any time."
        ) from None
    _log.info("set up", extra={"fields": {"seconds": round(time.monotonic() - started, 2)}})


def _fill(store: Store) -> None:
    from storefleet_oscar.converge import converge, wait_for_database

    wait_for_database()
    made = restore.restore(store)
    _log.info("tables and goods are there" if made else "tables and goods were there already")
    if not made and (missing := restore.missing(store)):
        _migrate(len(missing))
    converge(store)


def _migrate(changes: int) -> None:
    """What this version does to the tables of an older one; the older one goes on to serve meanwhile."""
    from django.core.management import call_command

    _log.info("bringing the tables up to date", extra={"fields": {"changes": changes}})
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (restore.LOCK,))
        try:
            call_command("migrate", interactive=False, verbosity=0)
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", (restore.LOCK,))
