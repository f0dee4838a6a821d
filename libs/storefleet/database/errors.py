"""Translate the driver's errors into the platform's own."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from storefleet.core.errors import DatabaseUnavailable

UNAVAILABLE_ERRORS = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    # shutting down, starting up, terminated by an administrator, statement timeout
    asyncpg.exceptions.OperatorInterventionError,
    # too many connections, disk full, out of memory
    asyncpg.exceptions.InsufficientResourcesError,
    asyncpg.exceptions.PostgresSystemError,
    # the victim of a deadlock may simply be retried
    asyncpg.exceptions.TransactionRollbackError,
)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise DatabaseUnavailable for every error that means that PostgreSQL is unavailable."""
    try:
        yield
    except UNAVAILABLE_ERRORS as error:
        raise DatabaseUnavailable(
            "The database does not answer at the moment. Retry in a few seconds."
        ) from error
