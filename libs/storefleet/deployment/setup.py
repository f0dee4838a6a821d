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
from storefleet.deployment.backups import Backup, restore_backup
from storefleet.deployment.deployment_error import DependencyNotReady, DeploymentError
from storefleet.messaging import MessageBus
from storefleet.node.servers import schema
from storefleet.node.servers.roles import MAINTENANCE_DATABASE, SUPERUSER, ensure_roles
from storefleet.node.servers.sql import connect, place_of
from storefleet.observability import logs

log = logs.get_logger(__name__)

_RETRY_PAUSE_S = 1.0
_RETRYABLE_ERRORS = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    DatabaseUnavailable,
    MessagingUnavailable,
    Conflict,  # another set-up was faster: the next look finds its work done
    DependencyNotReady,
)
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class SetupInput:
    """What the set-up is told: `passwords` by role when the PostgreSQL is the platform's own, the first sign-in."""

    owner: NewTenant
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)


async def set_up_deployment(
    settings: Settings, setup_input: SetupInput, *, timeout_s: float
) -> None:
    """Do all that is missing, waiting for servers that only start; raises DeploymentError."""
    deadline = time.monotonic() + timeout_s
    url = settings.database_url.get_secret_value()
    if setup_input.passwords:
        await _retry_until_deadline(
            "roles", lambda: _ensure_roles(url, setup_input.passwords), deadline
        )
    await _retry_until_deadline("schema", lambda: _ensure_schema(url), deadline)
    await _retry_until_deadline("streams", lambda: _ensure_streams(settings), deadline)
    tenant = await _retry_until_deadline(
        "first tenant", lambda: _ensure_first_tenant(settings, setup_input.owner), deadline
    )
    if tenant != setup_input.owner.tenant_id:
        log.warning(
            "tenant_is_another",
            tenant=tenant,
            told=setup_input.owner.tenant_id,
            email=setup_input.owner.email,
        )
    log.info("set_up", tenant=tenant)


async def wait_for_schema(settings: Settings, *, timeout_s: float) -> None:
    """Return when the schema is what this release needs; raises NotYet."""
    url = settings.database_url.get_secret_value()

    async def check_schema() -> None:
        try:
            current = await schema.is_current(url)
        except asyncpg.PostgresError as error:  # role and database are made by the set-up, too
            raise DependencyNotReady(str(error)) from None
        if not current:
            raise DependencyNotReady(
                "the schema is older than this release, or not made yet; the set-up job does that"
            )

    await _retry_until_deadline("schema", check_schema, time.monotonic() + timeout_s)


async def restore_database(
    settings: Settings, folder: Path, name: str, *, passwords: Mapping[str, str], timeout_s: float
) -> Backup:
    """The database as a backup has it, on a server that may be new, with the schema of this release."""
    deadline = time.monotonic() + timeout_s
    url = settings.database_url.get_secret_value()
    if passwords:
        await _retry_until_deadline("roles", lambda: _ensure_roles(url, passwords), deadline)
    put = await restore_backup(url, folder, name)
    await _retry_until_deadline("schema", lambda: _ensure_schema(url), deadline)
    return put


async def _ensure_roles(url: str, passwords: Mapping[str, str]) -> None:
    own = {role: password for role, password in passwords.items() if role != SUPERUSER}
    connection = await connect(
        f"postgresql://{SUPERUSER}:{quote(passwords[SUPERUSER])}@{place_of(url)}/{MAINTENANCE_DATABASE}"
    )
    try:
        await ensure_roles(connection, own)
    finally:
        await connection.close()


async def _ensure_schema(url: str) -> None:
    if await schema.is_current(url):
        return
    from storefleet.database.migrate import migrate_database

    await migrate_database(url)


async def _ensure_streams(settings: Settings) -> None:
    bus = MessageBus(
        settings.nats_url.get_secret_value(), name="node", replicas=settings.stream_replicas
    )
    async with bus.open_connection():
        for _ in range(30):  # it connects in the background
            if bus.is_connected:
                break
            await asyncio.sleep(0.1)
        await bus.ensure_streams()


async def _ensure_first_tenant(settings: Settings, owner: NewTenant) -> str:
    async with Database(
        settings.database_url.get_secret_value(), max_connections=2
    ).open_pool() as database:
        return await accounts.ensure_tenant(database, settings, owner)


async def _retry_until_deadline(
    part: str, action: Callable[[], Awaitable[_Result]], deadline_s: float
) -> _Result:
    """Until it is done or the time is over; every new reason for waiting is told once."""
    told = ""
    while True:
        try:
            return await action()
        except _RETRYABLE_ERRORS as error:
            reason = str(error) or type(error).__name__
            if time.monotonic() > deadline_s:
                raise DependencyNotReady(
                    f"Gave up waiting ({part}): {reason}. Look at the server's own log."
                ) from None
        except asyncpg.InvalidPasswordError as error:
            raise DeploymentError(
                f"PostgreSQL refuses the password ({error}): the secret and the database's files do not belong "
                "together. Put the right secret back, or, to begin anew, delete the database's volume."
            ) from None
        except Exception as error:
            said = next(iter(str(error).splitlines()), "")[:500]
            raise DeploymentError(f"{part.capitalize()}: {type(error).__name__}: {said}") from error
        if reason != told:
            log.info("waiting", part=part, reason=reason)
            told = reason
        await asyncio.sleep(_RETRY_PAUSE_S)
