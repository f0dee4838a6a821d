"""What probes ask, under any host name: whether the process answers, and whether its database does."""

import logging
from collections.abc import Callable

from django.db import Error, close_old_connections, connection

_log = logging.getLogger(__name__)


def alive() -> str | None:
    """The answer came from a thread that serves; a database that is away is no reason to start anew."""
    return None


def ready() -> str | None:
    """None when the database answers, else what is wrong; on the connection that this thread serves pages with."""
    close_old_connections()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as error:
        connection.close()
        _log.warning("the database does not answer: %s", type(error).__name__)
        return "the database does not answer"
    return None


PROBES: dict[str, Callable[[], str | None]] = {"/healthz": alive, "/readyz": ready}
