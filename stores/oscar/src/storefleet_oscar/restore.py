"""The template's tables and goods, from the dump that an image carries into a store's database, whole or not at all."""

import logging
from collections.abc import Callable

import psycopg

from storefleet_oscar.configuration import Database, Store
from storefleet_oscar.copies import DUMP, MIGRATIONS, template_folder

CONNECT_TIMEOUT = 5
#: One set-up at a time; the number has no meaning but to be ours.
LOCK = 7_266_312_041

_log = logging.getLogger(__name__)


class SetupError(Exception):
    """The database is not one that can be set up; the text says why, and what to do."""


def restore(store: Store) -> bool:
    """Put tables and goods into an empty database, in one transaction with the mark; False when that was done before.

    Raises SetupError when the database holds something else.
    """
    script = (template_folder(store) / DUMP).read_text(encoding="utf-8")
    with connect(store.database) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        if _marked(connection):
            return False
        _insist_on_empty(connection)
        connection.execute(script.encode())
        connection.execute("CREATE TABLE public.storefleet_setup (made_at timestamptz NOT NULL)")
        connection.execute("INSERT INTO public.storefleet_setup VALUES (now())")
    return True


def is_set_up(store: Store) -> bool:
    """Whether the database is as this version needs it; raises psycopg.OperationalError while it is away."""
    return not missing(store)


def missing(store: Store) -> set[str]:
    """What of this version's changes to the tables the database lacks: of an empty one all."""
    wanted = set((template_folder(store) / MIGRATIONS).read_text(encoding="utf-8").split())
    with connect(store.database) as connection:
        if not _marked(connection):
            return wanted
        return wanted - {
            row[0] for row in connection.execute("SELECT app || '.' || name FROM django_migrations")
        }


def wait(store: Store, *, pulse: Callable[[], None], pause: Callable[[], None]) -> None:
    """Return when the set-up has been done by somebody; `pulse` is called between looks, and may end it by raising."""
    told = ""
    while True:
        pulse()
        try:
            if is_set_up(store):
                return
            reason = "the database is not set up yet"
        except psycopg.OperationalError:
            reason = "the database does not answer yet"
        if reason != told:
            _log.warning("waiting: %s", reason)
            told = reason
        pause()


def connect(database: Database) -> psycopg.Connection:
    return psycopg.connect(
        host=database.host,
        port=database.port,
        dbname=database.name,
        user=database.user,
        password=database.password,
        connect_timeout=CONNECT_TIMEOUT,
        application_name="storefleet_oscar set-up",
    )


def _marked(connection: psycopg.Connection) -> bool:
    row = connection.execute("SELECT to_regclass('public.storefleet_setup') IS NOT NULL").fetchone()
    return row is not None and bool(row[0])


def _insist_on_empty(connection: psycopg.Connection) -> None:
    row = connection.execute(
        "SELECT count(*) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'public'"
    ).fetchone()
    if row is None or row[0]:
        raise SetupError(
            "The database holds tables that this shop did not make, and they are left alone: give the store an empty "
            "database, or remove what is in its schema `public`."
        )
