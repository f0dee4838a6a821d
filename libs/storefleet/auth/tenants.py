"""Create tenants with their owners. The owner of the first tenant operates the platform."""

import secrets
from typing import NamedTuple

from storefleet.auth.credentials import TOKEN_PREFIX_LENGTH, generate_token, hash_secret
from storefleet.auth.passwords import hash_password
from storefleet.core.errors import Conflict
from storefleet.core.identifiers import TENANT_PREFIX, TOKEN_PREFIX, USER_PREFIX, generate_id
from storefleet.core.models import OWNER_SCOPES
from storefleet.database.pool import Database


class NewTenant(NamedTuple):
    """A tenant with the secrets of its owner, in clear: they are shown or kept elsewhere once."""

    tenant_id: str
    email: str
    password: str
    token: str


def generate_tenant(tenant_id: str, email: str) -> NewTenant:
    """Generate the secrets of a tenant, without storing anything."""
    return NewTenant(tenant_id, email, secrets.token_urlsafe(15), generate_token())


async def create_tenant(
    database: Database,
    *,
    name: str,
    email: str,
    is_operator: bool = False,
    token_name: str = "first",
) -> NewTenant:
    """Create a tenant with an owner and a token.

    Args:
        database: The database of the platform.
        name: What the tenant is called.
        email: The account name of the owner.
        is_operator: Whether the owner manages the platform.
        token_name: What the owner's first token is called.

    Returns:
        The tenant with its secrets.

    Raises:
        Conflict: There is an account with this e-mail.
    """
    tenant = generate_tenant(generate_id(TENANT_PREFIX), email)
    await add_tenant(database, tenant, name=name, is_operator=is_operator, token_name=token_name)
    return tenant


async def add_tenant(
    database: Database, tenant: NewTenant, *, name: str, is_operator: bool, token_name: str
) -> None:
    """Store a tenant with the id and the secrets that it has.

    Args:
        database: The database of the platform.
        tenant: The tenant.
        name: What the tenant is called.
        is_operator: Whether the owner manages the platform.
        token_name: What the owner's first token is called.

    Raises:
        Conflict: There is an account with this e-mail.
    """
    password_hash = await hash_password(tenant.password)
    user_id = generate_id(USER_PREFIX)
    async with database.transaction() as tx:
        await tx.users.lock_emails()
        if await tx.users.email_exists(tenant.email):
            raise Conflict(
                "There is an account with this e-mail.",
                code="email_taken",
                errors=[("/email", "is taken")],
            )
        await tx.tenants.add(tenant.tenant_id, name)
        await tx.users.add(
            user_id=user_id,
            tenant_id=tenant.tenant_id,
            email=tenant.email,
            password_hash=password_hash,
            is_operator=is_operator,
        )
        scopes = (*OWNER_SCOPES, "operator") if is_operator else OWNER_SCOPES
        await tx.tokens.add(
            token_id=generate_id(TOKEN_PREFIX),
            tenant_id=tenant.tenant_id,
            user_id=user_id,
            name=token_name,
            prefix=tenant.token[:TOKEN_PREFIX_LENGTH],
            token_hash=hash_secret(tenant.token),
            scopes=scopes,
            expires_at=None,
        )


async def ensure_first_tenant(database: Database, *, email: str) -> NewTenant | None:
    """Create the first tenant unless it exists.

    Args:
        database: The database of the platform.
        email: The account name of its owner.

    Returns:
        The tenant with its secrets; None when it exists.
    """
    async with database.autocommit() as db:
        if await db.users.email_exists(email):
            return None
    return await create_tenant(
        database, name="Default", email=email, is_operator=True, token_name="admin"
    )


async def ensure_tenant(database: Database, tenant: NewTenant) -> str:
    """Create the first tenant with secrets that are kept elsewhere, or replace its secrets.

    A token that was ever stored, even if it was revoked since, means that the secrets are current.

    Args:
        database: The database of the platform.
        tenant: The tenant with the secrets that it is to have.

    Returns:
        The id of the tenant in the database.
    """
    async with database.autocommit() as db:
        owner = await db.users.find(tenant.email)
        has_token = owner is not None and await db.tokens.exists(hash_secret(tenant.token))
    if owner is None:
        await add_tenant(database, tenant, name="Default", is_operator=True, token_name="admin")
        return tenant.tenant_id
    if not has_token:
        await _replace_secrets(database, tenant)
    return owner.tenant_id


async def replace_owner_secrets(database: Database, *, email: str) -> NewTenant:
    """Give the first owner a new password and token, because the file with them was lost.

    Args:
        database: The database of the platform.
        email: The account name of the owner.

    Returns:
        The tenant with its new secrets. Sessions and tokens from before have ended.
    """
    return await _replace_secrets(database, generate_tenant("", email))


async def _replace_secrets(database: Database, tenant: NewTenant) -> NewTenant:
    password_hash = await hash_password(tenant.password)
    async with database.transaction() as tx:
        user = await tx.users.replace_password(email=tenant.email, password_hash=password_hash)
        await tx.tokens.add(
            token_id=generate_id(TOKEN_PREFIX),
            tenant_id=user.tenant_id,
            user_id=user.id,
            name="admin",
            prefix=tenant.token[:TOKEN_PREFIX_LENGTH],
            token_hash=hash_secret(tenant.token),
            scopes=(*OWNER_SCOPES, "operator"),
            expires_at=None,
        )
    return tenant._replace(tenant_id=user.tenant_id)
