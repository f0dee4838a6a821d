"""Restore the template's tables and products from the image's dump into a store's empty database.

`setup` restores; `serve` waits here until that is done.
"""

import logging
from collections.abc import Callable

import psycopg

from storefleet_oscar.configuration import Database, Store
from storefleet_oscar.copies import DUMP, MIGRATIONS, get_template_folder

CONNECT_TIMEOUT_S = 5
#: Advisory lock that serializes set-ups; the number is arbitrary.
SETUP_LOCK = 7_266_312_041

_log = logging.getLogger(__name__)


class SetupError(Exception):
    """The database cannot be set up, and a retry fails in the same way."""


def restore_template(store: Store) -> bool:
    """Restore tables and products into an empty database, with a mark, in one transaction.

    Returns False if the mark exists already. Raises SetupError if the database has other tables.
    """
    script = (get_template_folder(store) / DUMP).read_text(encoding="utf-8")
    with connect_database(store.database) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (SETUP_LOCK,))
        if _has_setup_mark(connection):
            return False
        _require_empty_schema(connection)
        connection.execute(script.encode())
        connection.execute("CREATE TABLE public.storefleet_setup (made_at timestamptz NOT NULL)")
        connection.execute("INSERT INTO public.storefleet_setup VALUES (now())")
    return True


def require_tables(store: Store) -> None:
    """Raise SetupError if the database is empty: an update never makes a new store of it."""
    with connect_database(store.database) as connection:
        if not _has_setup_mark(connection):
            raise SetupError(
                "The database of this store is empty, so there is nothing to update. It was left"
                " unchanged. Restore a dump of the store."
            )


def is_set_up(store: Store) -> bool:
    """Check whether the database has everything that this version needs.

    Raises psycopg.OperationalError while the database is unavailable.
    """
    if list_missing_migrations(store):
        return False
    with connect_database(store.database) as connection:
        row = connection.execute(
            "SELECT EXISTS (SELECT FROM storefleet_oscar_storestate)"
        ).fetchone()
    return row is not None and bool(row[0])


def list_missing_migrations(store: Store) -> set[str]:
    """Return this version's migrations that the database lacks; all of them if it is empty."""
    wanted = set((get_template_folder(store) / MIGRATIONS).read_text(encoding="utf-8").split())
    with connect_database(store.database) as connection:
        if not _has_setup_mark(connection):
            return wanted
        query = "SELECT app || '.' || name FROM django_migrations"
        return wanted - {row[0] for row in connection.execute(query)}


def wait_for_setup(
    store: Store, *, send_heartbeat: Callable[[], None], pause: Callable[[], None]
) -> None:
    """Poll until another process has set the database up.

    `send_heartbeat` is called before every poll and may raise to end the wait.
    """
    last_reason = ""
    while True:
        send_heartbeat()
        try:
            if is_set_up(store):
                return
            reason = "the database is not set up yet"
        except psycopg.OperationalError:
            reason = "the database does not answer yet"
        if reason != last_reason:
            _log.warning("Waiting: %s", reason)
            last_reason = reason
        pause()


def connect_database(database: Database) -> psycopg.Connection:
    """Open a connection to the store's database."""
    return psycopg.connect(
        host=database.host,
        port=database.port,
        dbname=database.name,
        user=database.user,
        password=database.password,
        connect_timeout=CONNECT_TIMEOUT_S,
        application_name="storefleet_oscar set-up",
    )


def _has_setup_mark(connection: psycopg.Connection) -> bool:
    row = connection.execute("SELECT to_regclass('public.storefleet_setup') IS NOT NULL").fetchone()
    return row is not None and bool(row[0])


def _require_empty_schema(connection: psycopg.Connection) -> None:
    row = connection.execute(
        "SELECT count(*) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE nspname = 'public'"
    ).fetchone()
    if row is None or row[0]:
        raise SetupError(
            "The database contains tables that this store did not create. They were left"
            " unchanged. Give the store an empty database, or drop the objects in the schema"
            " `public`."
        )
