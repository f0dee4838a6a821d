"""Set up what the services need on empty servers: roles, schema, streams, the first tenant.

Everything is created only if it is missing, so the set-up is safe to repeat and to run
concurrently. It waits for servers that are still starting.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from storefleet.auth import tenants
from storefleet.auth.tenants import NewTenant
from storefleet.core.errors import Conflict, DatabaseUnavailable, MessagingUnavailable
from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.deployment.backups import Backup, restore_backup
from storefleet.deployment.deployment_error import DependencyNotReady, DeploymentError
from storefleet.messaging import MessageBus
from storefleet.node.servers import schema
from storefleet.node.servers.roles import MAINTENANCE_DATABASE, SUPERUSER, ensure_roles
from storefleet.node.servers.sql import (
    PasswordRejected,
    ServerUnavailable,
    StatementRejected,
    extract_address,
    open_connection,
    translate_errors,
)
from storefleet.observability import logs

log = logs.get_logger(__name__)

_RETRY_PAUSE_S = 1.0
_RETRYABLE_ERRORS = (
    ServerUnavailable,
    DatabaseUnavailable,
    MessagingUnavailable,
    Conflict,  # a concurrent set-up was faster: the next attempt finds its result
    DependencyNotReady,
)
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class SetupInput:
    """The first owner, and the passwords by role if the deployment runs its own PostgreSQL."""

    owner: NewTenant
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)


async def set_up_deployment(
    settings: Settings, setup_input: SetupInput, *, timeout_s: float
) -> None:
    """Create the roles, schema, streams and first tenant that are missing.

    Args:
        settings: The URLs of the servers.
        setup_input: The first owner and the passwords of the roles.
        timeout_s: How long to wait for servers, in seconds.

    Raises:
        DeploymentError: A part cannot be created.
        DependencyNotReady: A server was not ready in time.
    """
    deadline_s = time.monotonic() + timeout_s
    url = settings.database_url.get_secret_value()
    owner = setup_input.owner
    if setup_input.passwords:
        await _retry_until_deadline(
            "roles", lambda: _ensure_roles(url, setup_input.passwords), deadline_s
        )
    await _retry_until_deadline("schema", lambda: _ensure_schema(url), deadline_s)
    await _retry_until_deadline("streams", lambda: _ensure_streams(settings), deadline_s)
    tenant_id = await _retry_until_deadline(
        "first tenant", lambda: _ensure_first_tenant(settings, owner), deadline_s
    )
    if tenant_id != owner.tenant_id:
        log.warning(
            "first_tenant_mismatched",
            tenant=tenant_id,
            expected=owner.tenant_id,
            email=owner.email,
        )
    log.info("deployment_set_up", tenant=tenant_id)


async def wait_for_schema(settings: Settings, *, timeout_s: float) -> None:
    """Wait until the database has the schema of this release.

    Args:
        settings: The URL of the database.
        timeout_s: The maximum wait in seconds.

    Raises:
        DependencyNotReady: The schema is missing or older after that time.
    """
    url = settings.database_url.get_secret_value()

    async def check_schema() -> None:
        try:
            current = await schema.is_schema_current(url)
        except (PasswordRejected, StatementRejected) as error:  # the set-up creates the role
            raise DependencyNotReady(str(error)) from None
        if not current:
            raise DependencyNotReady(
                "the schema is missing or older than this release; the set-up Job migrates it"
            )

    await _retry_until_deadline("schema", check_schema, time.monotonic() + timeout_s)


async def restore_database(
    settings: Settings, folder: Path, name: str, *, passwords: Mapping[str, str], timeout_s: float
) -> Backup:
    """Restore a backup, possibly on a new server, and migrate it to this release.

    Args:
        settings: The URL of the database.
        folder: The folder of the backups.
        name: The file name of the backup, or `latest`.
        passwords: The passwords by role, to create missing roles; empty for an external server.
        timeout_s: How long to wait for the server, in seconds.

    Returns:
        The backup that was restored.

    Raises:
        DeploymentError: The backup cannot be restored; nothing was changed.
        DependencyNotReady: The server was not ready in time.
    """
    deadline_s = time.monotonic() + timeout_s
    url = settings.database_url.get_secret_value()
    if passwords:
        await _retry_until_deadline("roles", lambda: _ensure_roles(url, passwords), deadline_s)
    backup = await restore_backup(url, folder, name)
    await _retry_until_deadline("schema", lambda: _ensure_schema(url), deadline_s)
    return backup


async def _ensure_roles(url: str, passwords: Mapping[str, str]) -> None:
    own = {role: password for role, password in passwords.items() if role != SUPERUSER}
    password = quote(passwords[SUPERUSER])
    connection = await open_connection(
        f"postgresql://{SUPERUSER}:{password}@{extract_address(url)}/{MAINTENANCE_DATABASE}"
    )
    try:
        await ensure_roles(connection, own)
    finally:
        await connection.close()


async def _ensure_schema(url: str) -> None:
    if await schema.is_schema_current(url):
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
        return await tenants.ensure_tenant(database, owner)


async def _retry_until_deadline(
    part: str, action: Callable[[], Awaitable[_Result]], deadline_s: float
) -> _Result:
    """Repeat an action while its server is unavailable; log every new reason once."""
    logged_reason = ""
    while True:
        try:
            with translate_errors():
                return await action()
        except _RETRYABLE_ERRORS as error:
            reason = str(error) or type(error).__name__
            if time.monotonic() > deadline_s:
                raise DependencyNotReady(
                    f"The wait for a dependency timed out ({part}): {reason}. "
                    "Read the log of its server."
                ) from None
        except PasswordRejected as error:
            raise DeploymentError(
                f"PostgreSQL rejects the password ({error}): the secret does not belong to the "
                "files of this database. Restore the previous secret; or, to start with an empty "
                "database, delete the database's volume."
            ) from None
        except Exception as error:
            cause = next(iter(str(error).splitlines()), "")[:500]
            raise DeploymentError(
                f"The set-up of {part} failed: {type(error).__name__}: {cause}"
            ) from error
        if reason != logged_reason:
            log.info("dependency_awaited", part=part, reason=reason)
            logged_reason = reason
        await asyncio.sleep(_RETRY_PAUSE_S)
