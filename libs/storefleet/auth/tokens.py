"""API tokens: create, list, revoke them, and find the principal that a token names."""

from datetime import datetime
from typing import NamedTuple

from storefleet.auth.credentials import (
    TOKEN_PREFIX_LENGTH,
    generate_token,
    hash_secret,
    is_token_shaped,
)
from storefleet.auth.token_cache import PrincipalCache
from storefleet.core.errors import Forbidden, NotFound
from storefleet.core.identifiers import TOKEN_PREFIX, generate_id
from storefleet.core.models import Principal
from storefleet.database.pool import Database
from storefleet.database.repositories.sessions import SIGN_OUT_CHANNEL
from storefleet.database.repositories.tokens import ApiToken


class IssuedToken(NamedTuple):
    """A token that was just created, with the secret that is shown once."""

    token: ApiToken
    secret: str


class Tokens:
    """The API tokens of all tenants."""

    def __init__(self, *, database: Database) -> None:
        """Use the tokens of a database.

        Args:
            database: The database of the platform.
        """
        self._database = database
        self._cache: PrincipalCache | None = None

    async def find_principal(self, secret: str) -> Principal | None:
        """Find the principal that a token names; None when it is unknown, expired or revoked."""
        if not is_token_shaped(secret):
            return None
        token_hash = hash_secret(secret)

        async def load_principal() -> Principal | None:
            async with self._database.autocommit() as db:
                return await db.tokens.find_principal(token_hash)

        if self._cache is None:
            return await load_principal()
        return await self._cache.get_or_load(token_hash, load_principal)

    async def watch_revocations(self) -> None:
        """Cache principals, and clear the cache when a token is revoked anywhere.

        Runs until cancelled. Without it nothing is cached, since a revocation would not be seen.
        """
        cache = self._cache = PrincipalCache()
        try:
            await self._database.listen(SIGN_OUT_CHANNEL, lambda _payload: cache.clear())
        finally:
            self._cache = None

    async def is_valid(self, token_id: str) -> bool:
        """Return whether a token is neither expired nor revoked."""
        async with self._database.autocommit() as db:
            return await db.tokens.is_valid(token_id)

    async def create_token(
        self,
        principal: Principal,
        *,
        name: str,
        scopes: list[str],
        expires_at: datetime,
        request_id: str | None,
    ) -> IssuedToken:
        """Create a token for the principal.

        Args:
            principal: Who requested it.
            name: What the token is called in lists.
            scopes: Its scopes; no more than those of the principal.
            expires_at: When it stops working.
            request_id: The id of the HTTP request.

        Returns:
            The token with its secret, which is stored nowhere.

        Raises:
            Forbidden: A scope is not one of the principal's.
        """
        if missing := sorted(set(scopes) - principal.scopes):
            raise Forbidden(
                f"A token cannot have scopes that you do not have: {', '.join(missing)}.",
                code="scope_missing",
            )
        secret = generate_token()
        async with self._database.transaction() as tx:
            added = await tx.tokens.add(
                token_id=generate_id(TOKEN_PREFIX),
                tenant_id=principal.tenant_id,
                user_id=principal.user_id,
                name=name,
                prefix=secret[:TOKEN_PREFIX_LENGTH],
                token_hash=hash_secret(secret),
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
        return IssuedToken(added, secret)

    async def list_tokens(self, principal: Principal) -> list[ApiToken]:
        """List the tokens of the principal's tenant that are not revoked."""
        async with self._database.autocommit() as db:
            return await db.tokens.list_of_tenant(principal.tenant_id)

    async def revoke_token(
        self, principal: Principal, *, token_id: str, request_id: str | None
    ) -> None:
        """Revoke a token of the principal's tenant.

        Args:
            principal: Who requested it.
            token_id: The token.
            request_id: The id of the HTTP request.

        Raises:
            NotFound: The tenant has no such token.
        """
        async with self._database.transaction() as tx:
            if not await tx.tokens.revoke(tenant_id=principal.tenant_id, token_id=token_id):
                raise NotFound("Token not found.")
            await tx.audit_log.add_entry(
                tenant_id=principal.tenant_id,
                actor=principal.token_id or principal.user_id,
                action="token.revoke",
                target=token_id,
                request_id=request_id,
            )
        if self._cache is not None:
            self._cache.clear()
