"""Migrate the database's schema with Alembic; the revisions are plain SQL."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

_ADVISORY_LOCK_ID = 7_305_801  # one migration at a time, whichever process starts first


async def migrate_database(url: str) -> None:
    """Migrate a database to the newest revision; safe to run from several processes at once.

    Args:
        url: The database (`postgresql://…`), as the role that owns the schema.
    """
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1))
    try:
        async with engine.connect() as connection:
            await connection.execute(text(f"SELECT pg_advisory_lock({_ADVISORY_LOCK_ID})"))
            await connection.commit()
            await connection.run_sync(_upgrade_to_head)
            await connection.commit()
    finally:
        await engine.dispose()


def _upgrade_to_head(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
