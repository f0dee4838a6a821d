"""From empty servers to a platform that can work: roles, schema, streams, the first tenant; each only if missing."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import asyncpg

from storefleet.auth import accounts
from storefleet.auth.accounts import NewTenant
from storefleet.core.errors import Conflict, DatabaseUnavailable, MessagingUnavailable
from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.deployment.backups import Backup, restore
from storefleet.deployment.deployment_error import DeploymentError, NotYet
from storefleet.messaging import MessageBus
from storefleet.node.servers import schema
from storefleet.node.servers.roles import MAINTENANCE_DATABASE, SUPERUSER, ensure_roles
from storefleet.node.servers.sql import connect, place_of
from storefleet.observability import logs

log = logs.get_logger(__name__)

_AGAIN = 1.0
_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    DatabaseUnavailable,
    MessagingUnavailable,
    Conflict,  # another set-up was faster: the next look finds its work done
    NotYet,
)
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class Given:
    """What the set-up is told: `passwords` by role when the PostgreSQL is the platform's own, the first sign-in."""

    owner: NewTenant
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)


async def setup(settings: Settings, given: Given, *, patience: float) -> None:
    """Do all that is missing, waiting for servers that only start; raises DeploymentError."""
    deadline = time.monotonic() + patience
    url = settings.database_url.get_secret_value()
    if given.passwords:
        await _persist("roles", lambda: _roles(url, given.passwords), deadline)
    await _persist("schema", lambda: _schema(url), deadline)
    await _persist("streams", lambda: _streams(settings), deadline)
    tenant = await _persist("first tenant", lambda: _first_tenant(settings, given.owner), deadline)
    if tenant != given.owner.tenant_id:
        log.warning(
            "tenant_is_another", tenant=tenant, told=given.owner.tenant_id, email=given.owner.email
        )
    log.info("set_up", tenant=tenant)


async def wait(settings: Settings, *, patience: float) -> None:
    """Return when the schema is what this release needs; raises NotYet."""
    url = settings.database_url.get_secret_value()

    async def look() -> None:
        try:
            current = await schema.is_current(url)
        except asyncpg.PostgresError as error:  # role and database are made by the set-up, too
            raise NotYet(str(error)) from None
        if not current:
            raise NotYet(
                "the schema is older than this release, or not made yet; the set-up job does that"
            )

    await _persist("schema", look, time.monotonic() + patience)


async def put_back(
    settings: Settings, folder: Path, name: str, *, passwords: Mapping[str, str], patience: float
) -> Backup:
    """The database as a backup has it, on a server that may be new, with the schema of this release."""
    deadline = time.monotonic() + patience
    url = settings.database_url.get_secret_value()
    if passwords:
        await _persist("roles", lambda: _roles(url, passwords), deadline)
    put = await restore(url, folder, name)
    await _persist("schema", lambda: _schema(url), deadline)
    return put


async def _roles(url: str, passwords: Mapping[str, str]) -> None:
    own = {role: password for role, password in passwords.items() if role != SUPERUSER}
    connection = await connect(
        f"postgresql://{SUPERUSER}:{quote(passwords[SUPERUSER])}@{place_of(url)}/{MAINTENANCE_DATABASE}"
    )
    try:
        await ensure_roles(connection, own)
    finally:
        await connection.close()


async def _schema(url: str) -> None:
    if await schema.is_current(url):
        return
    from storefleet.database.migrate import migrate_database

    await migrate_database(url)


async def _streams(settings: Settings) -> None:
    bus = MessageBus(
        settings.nats_url.get_secret_value(), name="node", replicas=settings.stream_replicas
    )
    async with bus.open_connection():
        for _ in range(30):  # it connects in the background
            if bus.is_connected:
                break
            await asyncio.sleep(0.1)
        await bus.ensure_streams()


async def _first_tenant(settings: Settings, owner: NewTenant) -> str:
    async with Database(
        settings.database_url.get_secret_value(), max_connections=2
    ).open_pool() as database:
        return await accounts.ensure_tenant(database, settings, owner)


async def _persist(what: str, act: Callable[[], Awaitable[_Result]], deadline: float) -> _Result:
    """Until it is done or the time is over; every new reason for waiting is told once."""
    told = ""
    while True:
        try:
            return await act()
        except _AWAY as error:
            reason = str(error) or type(error).__name__
            if time.monotonic() > deadline:
                raise NotYet(
                    f"Gave up waiting ({what}): {reason}. Look at the server's own log."
                ) from None
        except asyncpg.InvalidPasswordError as error:
            raise DeploymentError(
                f"PostgreSQL refuses the password ({error}): the secret and the database's files do not belong "
                "together. Put the right secret back, or, to begin anew, delete the database's volume."
            ) from None
        except Exception as error:
            said = next(iter(str(error).splitlines()), "")[:500]
            raise DeploymentError(f"{what.capitalize()}: {type(error).__name__}: {said}") from error
        if reason != told:
            log.info("waiting", part=what, reason=reason)
            told = reason
        await asyncio.sleep(_AGAIN)
