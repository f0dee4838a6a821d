"""Brings the platform's schema up to date in a process of its own: its tools are large, and rarely needed."""

import asyncio
import sys
from pathlib import Path

from storefleet import database
from storefleet.core.settings import read_settings
from storefleet.node.node_error import NodeError
from storefleet.node.processes.launcher import ChildProcess, read_last_line, run_to_completion
from storefleet.node.servers.sql import open_connection

MIGRATION_TIMEOUT_S = 300.0


async def is_schema_current(url: str) -> bool:
    """Whether the newest revision, which comes last in the order of their names, has been applied, or even a later one.

    A later one is what a new release leaves behind that was taken back: it works with that schema.
    """
    versions = Path(database.__file__).parent / "migrations" / "versions"
    newest = max(path.name.partition("_")[0] for path in versions.glob("[0-9]*.py"))
    connection = await open_connection(url)
    try:
        if not await connection.fetchval("SELECT to_regclass('alembic_version') IS NOT NULL"):
            return False
        return (
            await connection.fetchval("SELECT version_num FROM alembic_version") or ""
        ) >= newest
    finally:
        await connection.close()


async def ensure_schema(
    url: str, *, env: dict[str, str], records_dir: Path, log_file: Path
) -> None:
    """Migrate when there is something to do; `env` names the folder with the database's address."""
    if await is_schema_current(url):
        return
    argv = (sys.executable, "-m", "storefleet.node.servers.schema")
    code = await run_to_completion(
        ChildProcess(name="migrate", argv=argv, cwd=Path.cwd(), log_file=log_file, env=env),
        records_dir=records_dir,
        timeout_s=MIGRATION_TIMEOUT_S,
    )
    if code != 0:
        raise NodeError(
            f"The database could not be brought up to date: {read_last_line(log_file)} (more in {log_file})."
        )


def main() -> None:
    from storefleet.database.migrate import migrate_database

    asyncio.run(migrate_database(read_settings().database_url.get_secret_value()))


if __name__ == "__main__":
    main()
