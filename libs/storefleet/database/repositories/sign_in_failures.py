"""Failed sign-ins, counted per account name whether the account exists or not.

The pause after too many failures therefore does not disclose which accounts exist.
"""

from datetime import timedelta

from storefleet.database.connection import Connection
from storefleet.database.statements import load_statement

_COUNT_FAILURE = load_statement("count_sign_in_failure")


class SignInFailureRepository:
    """Counts failures and computes the pause that follows from them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def read_pause(self, account: str, *, attempts: int, pause: timedelta) -> float:
        """Return for how many seconds an account may not sign in; 0 when it may.

        Args:
            account: The e-mail address that was entered.
            attempts: Failures that start a pause.
            pause: How long the pause lasts since the last failure.
        """
        return float(
            await self._connection.fetchval(
                """
                SELECT coalesce(max(extract(epoch FROM last_at + $3::interval - now())), 0)
                FROM sign_in_failures
                WHERE account = lower($1) AND failures >= $2 AND last_at + $3::interval > now()""",
                account,
                attempts,
                pause,
            )
        )

    async def count(self, account: str, *, pause: timedelta) -> int:
        """Count one more failure; the count restarts when the last one is older than `pause`.

        Returns:
            The failures in a row, with this one.
        """
        return int(
            await self._connection.fetchval(*_COUNT_FAILURE.bind(account=account, pause=pause))
        )

    async def clear(self, account: str) -> None:
        """Delete the count after a successful sign-in."""
        await self._connection.execute(
            "DELETE FROM sign_in_failures WHERE account = lower($1)", account
        )

    async def purge(self) -> None:
        """Delete counts that are older than a day."""
        await self._connection.execute(
            "DELETE FROM sign_in_failures WHERE last_at < now() - interval '1 day'"
        )
