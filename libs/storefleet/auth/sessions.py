"""Sign people in and out: sessions that a cookie names."""

import secrets
from datetime import timedelta
from typing import NamedTuple

from storefleet.auth.credentials import hash_secret
from storefleet.auth.passwords import UNKNOWN_USER_HASH, is_password_correct
from storefleet.core.errors import LimitExceeded, Unauthenticated
from storefleet.core.models import Principal
from storefleet.core.settings import Settings
from storefleet.database.pool import Database


class NewSession(NamedTuple):
    """A session that was just created: the value of its cookie, and the hash that is stored."""

    cookie: str
    hash: bytes


class Sessions:
    """Creates, finds and ends the sessions of people."""

    def __init__(self, *, database: Database, settings: Settings) -> None:
        """Use the sessions of a database.

        Args:
            database: The database of the platform.
            settings: The limit of failed sign-ins and the lifetime of sessions.
        """
        self._database = database
        self._settings = settings

    async def sign_in(self, email: str, password: str) -> NewSession:
        """Sign a person in.

        Args:
            email: The account name; upper and lower case are the same.
            password: The password.

        Returns:
            The new session.

        Raises:
            LimitExceeded: The account is paused after too many failures.
            Unauthenticated: The e-mail or the password is wrong.
        """
        attempts = self._settings.sign_in_attempts
        pause = timedelta(seconds=self._settings.sign_in_pause)
        async with self._database.autocommit() as db:
            wait_s = await db.sign_in_failures.read_pause(email, attempts=attempts, pause=pause)
            # Counted before the password is verified, so that parallel guesses cannot pass the
            # limit.
            if wait_s <= 0 and await db.sign_in_failures.count(email, pause=pause) > attempts:
                wait_s = pause.total_seconds()
            if wait_s > 0:
                raise LimitExceeded(
                    f"There were too many failed sign-ins. Try again in {wait_s:.0f} s.",
                    code="sign_in_paused",
                    retry_after=wait_s,
                )
            user = await db.users.find(email)
        password_hash = user.password_hash if user else UNKNOWN_USER_HASH
        is_correct = await is_password_correct(password_hash, password)
        if user is None or not is_correct:
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

    async def sign_out(self, session_hash: bytes) -> None:
        """End a session; its websockets are closed at once."""
        async with self._database.transaction() as tx:
            await tx.sessions.delete(session_hash)

    async def find_principal(self, cookie: str) -> Principal | None:
        """Find the person whose session a cookie names; None when it has ended."""
        if not cookie.isascii():
            return None
        return await self.find_principal_by_hash(hash_secret(cookie))

    async def find_principal_by_hash(self, session_hash: bytes) -> Principal | None:
        """Find the person of a session; None when it has ended."""
        async with self._database.autocommit() as db:
            return await db.sessions.find_principal(session_hash)
