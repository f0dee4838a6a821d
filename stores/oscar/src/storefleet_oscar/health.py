"""Probes of the pods, and the health of the store by part, answered under any host name.

They need no page, product, template or user of the owner's.
"""

import logging
from collections.abc import Callable

from django.db import Error, close_old_connections, connection

_log = logging.getLogger(__name__)


def check_liveness() -> str | None:
    """Return None: a serving thread answers. An unavailable database is no reason to restart."""
    return None


def check_readiness() -> str | None:
    """Return None if the database answers, else the problem.

    The process answers only after the set-up of its version. It uses the connection of this
    thread, which is the one that serves its pages.
    """
    close_old_connections()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as error:
        connection.close()
        _log.warning("The database does not answer: %s", type(error).__name__)
        return "the database does not answer"
    return None


PROBES: dict[str, Callable[[], str | None]] = {
    "/healthz": check_liveness,
    "/readyz": check_readiness,
}


def describe_health() -> dict[str, str]:
    """Return the state of each part of the store."""
    if check_readiness() is not None:
        parts = ("schema", "setup", "search", "storefront")
        return {"database": "unavailable", **dict.fromkeys(parts, "unknown")}
    return {
        "database": "ok",
        "schema": _describe(_describe_schema),
        "setup": _describe(_describe_setup),
        "search": _describe(_describe_search),
        "storefront": _describe(_describe_storefront),
    }


def _describe(part: Callable[[], str]) -> str:
    try:
        return part()
    except Error as error:
        _log.warning("A part of the store does not work: %s", type(error).__name__)
        return "failed"


def _describe_schema() -> str:
    from storefleet_oscar.migration_state import list_missing_migrations

    return "pending" if list_missing_migrations() else "current"


def _describe_setup() -> str:
    from storefleet_oscar.models import StoreState

    return "done" if StoreState.objects.exists() else "pending"


def _describe_search() -> str:
    from storefleet_oscar.apps.search.queries import list_products

    list(list_products("health check")[:1])
    return "ok"


def _describe_storefront() -> str:
    from storefleet_oscar.storefront import is_storefront_open

    return "open" if is_storefront_open() else "closed"
