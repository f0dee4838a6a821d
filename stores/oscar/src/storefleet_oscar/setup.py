"""`setup`: make an empty database a shop from what the image carries, and bring it to the store's configuration."""

import logging
import time

import django
import psycopg
from django.db import OperationalError

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
    converge(store)
