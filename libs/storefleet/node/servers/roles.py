"""Who there is in a PostgreSQL that belongs to the platform: roles, its database, and who may connect to what."""

from collections.abc import Mapping

from storefleet.node.servers.sql import Connection, execute_formatted

SUPERUSER = "postgres"
PLATFORM_ROLE = PLATFORM_DATABASE = "storefleet"
STORES_ROLE = "storefleet_stores"
MAINTENANCE_DATABASE = "postgres"
_ROLE_ATTRIBUTES = {PLATFORM_ROLE: "NOCREATEDB NOCREATEROLE", STORES_ROLE: "CREATEDB CREATEROLE"}


async def ensure_roles(connection: Connection, passwords: Mapping[str, str]) -> None:
    """Bring the roles that have a password, the platform's database and its door to what they should be."""
    for role, password in passwords.items():
        await _ensure_role(connection, role, password)
    if not await connection.fetchval(
        "SELECT 1 FROM pg_database WHERE datname = $1", PLATFORM_DATABASE
    ):
        await execute_formatted(
            connection, "CREATE DATABASE %I OWNER %I", PLATFORM_DATABASE, PLATFORM_ROLE
        )
    for database in (PLATFORM_DATABASE, MAINTENANCE_DATABASE, "template1"):
        await execute_formatted(connection, "REVOKE ALL ON DATABASE %I FROM PUBLIC", database)
    if STORES_ROLE in passwords:
        await execute_formatted(
            connection, "ALTER ROLE %I SET createrole_self_grant = 'set, inherit'", STORES_ROLE
        )
        await execute_formatted(
            connection, "GRANT CONNECT ON DATABASE %I TO %I", MAINTENANCE_DATABASE, STORES_ROLE
        )


async def _ensure_role(connection: Connection, role: str, password: str) -> None:
    known = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role)
    verb = "ALTER" if known else "CREATE"
    await execute_formatted(
        connection,
        f"{verb} ROLE %I LOGIN NOSUPERUSER {_ROLE_ATTRIBUTES[role]} PASSWORD %L",
        role,
        password,
    )
