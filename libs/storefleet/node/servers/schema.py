"""Migrate the platform's schema in a process of its own.

Alembic and SQLAlchemy are large and rarely needed, so the node's process does not import them.
"""

import asyncio
import sys
from pathlib import Path

from storefleet import database
from storefleet.core.settings import read_settings
from storefleet.node.node_error import NodeError
from storefleet.node.processes.launcher import ChildProcess, read_last_line, run_to_completion
from storefleet.node.servers.sql import ServerError, extract_address, open_connection

MIGRATION_TIMEOUT_S = 300.0


async def is_schema_current(url: str) -> bool:
    """Check whether the newest revision of this release, or a later one, has been applied.

    A later revision remains after the downgrade from a newer release; this release works with it.
    Revisions are ordered by their names.

    Args:
        url: The platform's database.

    Returns:
        False if there is no schema, or an older one.

    Raises:
        ServerError: The server is unavailable or rejects the query.
    """
    versions = Path(database.__file__).parent / "migrations" / "versions"
    newest = max(path.name.partition("_")[0] for path in versions.glob("[0-9]*.py"))
    connection = await open_connection(url)
    try:
        if not await connection.fetch_value("SELECT to_regclass('alembic_version') IS NOT NULL"):
            return False
        current = await connection.fetch_value("SELECT version_num FROM alembic_version")
        return (current or "") >= newest
    finally:
        await connection.close()


async def ensure_schema(
    url: str, *, env: dict[str, str], records_dir: Path, log_file: Path
) -> None:
    """Migrate the platform's database if its schema is older than this release.

    Args:
        url: The platform's database.
        env: The environment of the migration's process, with the folder of its secrets.
        records_dir: The folder of the process records.
        log_file: The log of the migration.

    Raises:
        NodeError: The database cannot be used or migrated.
    """
    try:
        is_current = await is_schema_current(url)
    except ServerError as error:
        raise NodeError(
            f"The database at {extract_address(url)} cannot be used: {error}. Check its address, "
            "user and password."
        ) from None
    if is_current:
        return
    argv = (sys.executable, "-m", "storefleet.node.servers.schema")
    child = ChildProcess(name="migrate", argv=argv, cwd=Path.cwd(), log_file=log_file, env=env)
    try:
        code = await run_to_completion(
            child, records_dir=records_dir, timeout_s=MIGRATION_TIMEOUT_S
        )
    except OSError as error:  # TimeoutError is one
        raise NodeError(
            f"The database cannot be migrated: {error}. Read the log {log_file}."
        ) from None
    if code != 0:
        raise NodeError(
            f"The database cannot be migrated: {read_last_line(log_file)}. Read the log {log_file}."
        )


def main() -> None:
    """Migrate the database of the environment's settings; the node runs this as a process."""
    from storefleet.database.migrate import migrate_database

    asyncio.run(migrate_database(read_settings().database_url.get_secret_value()))


if __name__ == "__main__":
    main()
