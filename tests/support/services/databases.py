"""Access to the node's PostgreSQL as the role that creates the stores' databases."""

from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from tests.support.services.platform import Platform


def stores_url(platform: Platform) -> str:
    path = Path(platform.state_dir) / "secrets" / "provisioner" / "storefleet_stores_database_url"
    return path.read_text().strip()


def platform_url(platform: Platform) -> str:
    path = Path(platform.state_dir) / "secrets" / "gateway" / "storefleet_database_url"
    return path.read_text().strip()


async def list_store_databases(platform: Platform) -> list[str]:
    """Return databases and roles of stores that still exist."""
    assert urlsplit(stores_url(platform)).hostname == "127.0.0.1"
    connection = await asyncpg.connect(stores_url(platform))
    try:
        found = await connection.fetch(
            "SELECT 'database ' || datname AS what FROM pg_database WHERE datname LIKE 'st\\_%'"
            " UNION ALL SELECT 'role ' || rolname FROM pg_roles WHERE rolname LIKE 'st\\_%'"
        )
    finally:
        await connection.close()
    return [record["what"] for record in found]
