"""The roles of a PostgreSQL server that belongs to the platform, its database, and the grants.

The platform's role owns only its database. The stores' role can create databases and roles, but
cannot connect to the platform's database.
"""

from collections.abc import Mapping

from storefleet.node.servers.sql import ServerConnection

SUPERUSER = "postgres"
PLATFORM_ROLE = PLATFORM_DATABASE = "storefleet"
STORES_ROLE = "storefleet_stores"
MAINTENANCE_DATABASE = "postgres"
_ROLE_ATTRIBUTES = {PLATFORM_ROLE: "NOCREATEDB NOCREATEROLE", STORES_ROLE: "CREATEDB CREATEROLE"}


async def ensure_roles(connection: ServerConnection, passwords: Mapping[str, str]) -> None:
    """Create or correct the roles, the platform's database and the connect privileges.

    Args:
        connection: A connection as the superuser.
        passwords: The passwords by role; roles without a password are left alone.

    Raises:
        ServerError: The server is unavailable or rejects a statement.
    """
    for role, password in passwords.items():
        await _ensure_role(connection, role, password)
    if not await connection.fetch_value(
        "SELECT 1 FROM pg_database WHERE datname = $1", PLATFORM_DATABASE
    ):
        await connection.execute_formatted(
            "CREATE DATABASE %I OWNER %I", PLATFORM_DATABASE, PLATFORM_ROLE
        )
    for database in (PLATFORM_DATABASE, MAINTENANCE_DATABASE, "template1"):
        await connection.execute_formatted("REVOKE ALL ON DATABASE %I FROM PUBLIC", database)
    if STORES_ROLE in passwords:
        await connection.execute_formatted(
            "ALTER ROLE %I SET createrole_self_grant = 'set, inherit'", STORES_ROLE
        )
        await connection.execute_formatted(
            "GRANT CONNECT ON DATABASE %I TO %I", MAINTENANCE_DATABASE, STORES_ROLE
        )


async def _ensure_role(connection: ServerConnection, role: str, password: str) -> None:
    exists = await connection.fetch_value("SELECT 1 FROM pg_roles WHERE rolname = $1", role)
    verb = "ALTER" if exists else "CREATE"
    await connection.execute_formatted(
        f"{verb} ROLE %I LOGIN NOSUPERUSER {_ROLE_ATTRIBUTES[role]} PASSWORD %L",
        role,
        password,
    )
