"""People and programs: passwords, sessions and tokens. Secrets leave here once, in clear; only hashes are kept."""

import asyncio
import hashlib
import secrets
from datetime import datetime, timedelta
from typing import NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from storefleet.auth.token_cache import PrincipalCache
from storefleet.core.errors import Conflict, Forbidden, LimitExceeded, NotFound, Unauthenticated
from storefleet.core.identifiers import TENANT_PREFIX, TOKEN_PREFIX, USER_PREFIX, generate_id
from storefleet.core.models import OWNER_SCOPES, Principal
from storefleet.core.settings import Settings
from storefleet.database.pool import Database
from storefleet.database.sessions import SIGN_OUT_CHANNEL
from storefleet.database.tokens import ApiToken

# OWASP's second recommendation: 19 MiB, so that a few sign-ins at once do not fill a small machine.
_PASSWORD_HASHER = PasswordHasher(memory_cost=19 * 1024, time_cost=2, parallelism=1)
_UNKNOWN_USER_HASH = _PASSWORD_HASHER.hash("nobody has this password")
_TOKEN_PREFIX = "sft_"
_HASHING_SLOTS = asyncio.Semaphore(2)


class NewSession(NamedTuple):
    """A fresh sign-in: the cookie's value, and the hash that finds it."""

    cookie: str
    hash: bytes


class IssuedToken(NamedTuple):
    """A token that was just created, with the secret that is shown once."""

    token: ApiToken
    secret: str


class NewTenant(NamedTuple):
    tenant_id: str
    email: str
    password: str
    token: str


def hash_secret(secret: str) -> bytes:
    """What is kept of a random secret; it has entropy enough for a plain hash."""
    return hashlib.sha256(secret.encode()).digest()


class Accounts:
    """Signs people in and programs on."""

    def __init__(self, *, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._principal_cache: PrincipalCache | None = None

    async def sign_in(self, email: str, password: str) -> NewSession:
        """A new session; raises Limited while the account pauses, Unauthenticated for whatever is wrong."""
        attempts, pause = (
            self._settings.sign_in_attempts,
            timedelta(seconds=self._settings.sign_in_pause),
        )
        async with self._database.autocommit() as db:
            wait = await db.sign_in_failures.read_pause(email, attempts=attempts, pause=pause)
            # counted before it is checked: parallel guesses do not get ahead of the limit
            if wait <= 0 and await db.sign_in_failures.count(email, pause=pause) > attempts:
                wait = pause.total_seconds()
            if wait > 0:
                raise LimitExceeded(
                    f"Too many failed sign-ins; try again in {wait:.0f} s.",
                    code="sign_in_paused",
                    retry_after=wait,
                )
            user = await db.users.find(email)
        right = await _verify_password(user.password_hash if user else _UNKNOWN_USER_HASH, password)
        if user is None or not right:
            raise Unauthenticated("E-mail or password is wrong.", code="wrong_sign_in")
        cookie = secrets.token_urlsafe(32)
        async with self._database.transaction() as tx:
            await tx.sign_in_failures.clear(email)
            await tx.sessions.add(
                session_hash=hash_secret(cookie),
                user_id=user.id,
                csrf=secrets.token_urlsafe(24),
                lifetime=timedelta(hours=self._settings.session_hours),
            )
        return NewSession(cookie, hash_secret(cookie))

    async def sign_out(self, hash_: bytes) -> None:
        async with self._database.transaction() as tx:
            await tx.sessions.delete(hash_)

    async def find_by_session(self, cookie: str) -> Principal | None:
        if not cookie.isascii():
            return None
        async with self._database.autocommit() as db:
            return await db.sessions.find_principal(hash_secret(cookie))

    async def find_by_token(self, token: str) -> Principal | None:
        if not token.startswith(_TOKEN_PREFIX) or len(token) > 100 or not token.isascii():
            return None
        key = hash_secret(token)

        async def load_principal() -> Principal | None:
            async with self._database.autocommit() as db:
                return await db.tokens.find_principal(key)

        return await (
            load_principal()
            if self._principal_cache is None
            else self._principal_cache.get_or_load(key, load_principal)
        )

    async def watch_revocations(self) -> None:
        """Remember tokens for a moment, and forget them when one is revoked anywhere; runs until cancelled."""
        remembered = self._principal_cache = PrincipalCache()
        try:
            await self._database.listen(SIGN_OUT_CHANNEL, lambda _payload: remembered.clear())
        finally:
            self._principal_cache = None

    async def is_credential_valid(self, credential_key: str) -> bool:
        """Whether `session:<hash>` or `token:<id>` may still listen."""
        kind, _, value = credential_key.partition(":")
        async with self._database.autocommit() as db:
            if kind == "session":
                return await db.sessions.find_principal(bytes.fromhex(value)) is not None
            return await db.tokens.is_valid(value)

    async def create_tenant(
        self, *, name: str, email: str, is_operator: bool = False, token_name: str = "first"
    ) -> NewTenant:
        """A tenant with an owner and a token; raises Conflict when the e-mail is known."""
        return await self.add_tenant(
            generate_tenant(generate_id(TENANT_PREFIX), email),
            name=name,
            is_operator=is_operator,
            token_name=token_name,
        )

    async def add_tenant(
        self, tenant: NewTenant, *, name: str, is_operator: bool, token_name: str
    ) -> NewTenant:
        """The tenant, its owner and token as they are given; raises Conflict when the e-mail is known."""
        tenant_id, email, password, token = tenant
        password_hash = await asyncio.to_thread(_PASSWORD_HASHER.hash, password)
        user_id = generate_id(USER_PREFIX)
        async with self._database.transaction() as tx:
            await tx.users.lock_emails()
            if await tx.users.email_exists(email):
                raise Conflict(
                    "There is an account with this e-mail.",
                    code="email_taken",
                    errors=[("/email", "is taken")],
                )
            await tx.tenants.add(tenant_id, name)
            await tx.users.add(
                user_id=user_id,
                tenant_id=tenant_id,
                email=email,
                password_hash=password_hash,
                is_operator=is_operator,
            )
            scopes = (*OWNER_SCOPES, *(("operator",) if is_operator else ()))
            await tx.tokens.add(
                token_id=generate_id(TOKEN_PREFIX),
                tenant_id=tenant_id,
                user_id=user_id,
                name=token_name,
                prefix=token[:8],
                token_hash=hash_secret(token),
                scopes=scopes,
                expires_at=None,
            )
        return tenant

    async def create_token(
        self,
        principal: Principal,
        *,
        name: str,
        scopes: list[str],
        expires_at: datetime,
        request_id: str | None,
    ) -> IssuedToken:
        """A token with no more than the caller's own scopes; its secret is in the answer and nowhere else."""
        if missing := sorted(set(scopes) - principal.scopes):
            raise Forbidden(
                f"You cannot give what you do not have: {', '.join(missing)}.", code="scope_missing"
            )
        token = generate_token()
        async with self._database.transaction() as tx:
            added = await tx.tokens.add(
                token_id=generate_id(TOKEN_PREFIX),
                tenant_id=principal.tenant_id,
                user_id=principal.user_id,
                name=name,
                prefix=token[:8],
                token_hash=hash_secret(token),
                scopes=scopes,
                expires_at=expires_at,
            )
            await tx.audit_log.add_entry(
                tenant_id=principal.tenant_id,
                actor=principal.token_id or principal.user_id,
                action="token.create",
                target=added.id,
                request_id=request_id,
            )
        return IssuedToken(added, token)

    async def list_tokens(self, principal: Principal) -> list[ApiToken]:
        async with self._database.autocommit() as db:
            return await db.tokens.list_of_tenant(principal.tenant_id)

    async def revoke_token(
        self, principal: Principal, *, token_id: str, request_id: str | None
    ) -> None:
        """Raises NotFound when it is not the tenant's."""
        async with self._database.transaction() as tx:
            if not await tx.tokens.revoke(tenant_id=principal.tenant_id, token_id=token_id):
                raise NotFound("There is no such token.")
            await tx.audit_log.add_entry(
                tenant_id=principal.tenant_id,
                actor=principal.token_id or principal.user_id,
                action="token.revoke",
                target=token_id,
                request_id=request_id,
            )
        if self._principal_cache is not None:
            self._principal_cache.clear()


async def ensure_first_tenant(
    database: Database, settings: Settings, *, email: str
) -> NewTenant | None:
    """The first tenant, whose owner is the platform's operator; None when there is one already."""
    async with database.autocommit() as db:
        if await db.users.email_exists(email):
            return None
    return await Accounts(database=database, settings=settings).create_tenant(
        name="Default", email=email, is_operator=True, token_name="admin"
    )


async def ensure_tenant(database: Database, settings: Settings, tenant: NewTenant) -> str:
    """Make the first tenant with secrets that are kept elsewhere; new ones replace those of a tenant that is there.

    Returns the tenant's id. A token that is known, even if it was revoked since, says that nothing is to be done.
    """
    async with database.autocommit() as db:
        owner = await db.users.find(tenant.email)
        has_token = owner is not None and await db.tokens.exists(hash_secret(tenant.token))
    if owner is None:
        accounts = Accounts(database=database, settings=settings)
        return (
            await accounts.add_tenant(tenant, name="Default", is_operator=True, token_name="admin")
        ).tenant_id
    if not has_token:
        await _replace_secrets(database, tenant)
    return owner.tenant_id


async def replace_owner_secrets(database: Database, *, email: str) -> NewTenant:
    """A new password and token for the first owner, for when the file that held them is lost."""
    return await _replace_secrets(database, generate_tenant("", email))


async def _replace_secrets(database: Database, tenant: NewTenant) -> NewTenant:
    _, email, password, token = tenant
    password_hash = await asyncio.to_thread(_PASSWORD_HASHER.hash, password)
    async with database.transaction() as tx:
        user = await tx.users.replace_password(email=email, password_hash=password_hash)
        await tx.tokens.add(
            token_id=generate_id(TOKEN_PREFIX),
            tenant_id=user.tenant_id,
            user_id=user.id,
            name="admin",
            prefix=token[:8],
            token_hash=hash_secret(token),
            scopes=(*OWNER_SCOPES, "operator"),
            expires_at=None,
        )
    return NewTenant(user.tenant_id, email, password, token)


def generate_tenant(tenant_id: str, email: str) -> NewTenant:
    """A tenant with fresh secrets, which is nowhere yet."""
    return NewTenant(tenant_id, email, secrets.token_urlsafe(15), generate_token())


def generate_token() -> str:
    return _TOKEN_PREFIX + secrets.token_urlsafe(32)


async def _verify_password(password_hash: str, password: str) -> bool:
    """Argon2 in a thread, two at a time: sign-ins are slow on purpose, but must not stop the service."""

    def verify() -> bool:
        try:
            return _PASSWORD_HASHER.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    async with _HASHING_SLOTS:
        return await asyncio.to_thread(verify)
