"""Liveness and readiness probes, answered under any host name."""

import logging
from collections.abc import Callable

from django.db import Error, close_old_connections, connection

_log = logging.getLogger(__name__)


def check_liveness() -> str | None:
    """Return None: a serving thread answers. An unavailable database is no reason to restart."""
    return None


def check_readiness() -> str | None:
    """Return None if the database answers, else the problem.

    It uses the connection of this thread, which is the one that serves its pages.
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
