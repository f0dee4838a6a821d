"""Idempotency keys, with the response that the first request got. They are kept for a day."""

from typing import Any, NamedTuple

from storefleet.database.connection import Connection


class StoredResponse(NamedTuple):
    """The response of the first request with a key, and the hash of that request's body."""

    request_hash: bytes
    body: dict[str, Any]


class IdempotencyKeyRepository:
    """Stores and finds responses by idempotency key."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def find_response(self, *, scope: str, key: str) -> StoredResponse | None:
        """Find the response to an earlier request; `scope` names the tenant and the endpoint."""
        record = await self._connection.fetchrow(
            """
            SELECT request_hash, body FROM idempotency_keys
            WHERE scope = $1 AND key = $2 AND created_at > now() - interval '1 day'""",
            scope,
            key,
        )
        return StoredResponse(bytes(record["request_hash"]), record["body"]) if record else None

    async def store_response(
        self, *, scope: str, key: str, request_hash: bytes, operation_id: str, body: dict[str, Any]
    ) -> None:
        """Store the response to a request; one that is older than a day is replaced.

        Args:
            scope: The tenant and the endpoint.
            key: The client's key.
            request_hash: The hash of the request's body, compared on a repetition.
            operation_id: The operation in the response; stored in the column `location`.
            body: The response's body.
        """
        await self._connection.execute(
            """
            INSERT INTO idempotency_keys (scope, key, request_hash, status, location, body)
            VALUES ($1, $2, $3, 202, $4, $5)
            ON CONFLICT (scope, key) DO UPDATE SET
                request_hash = excluded.request_hash, body = excluded.body,
                location = excluded.location, created_at = now()""",
            scope,
            key,
            request_hash,
            operation_id,
            body,
        )

    async def purge(self) -> None:
        """Delete keys that are older than a day."""
        await self._connection.execute(
            "DELETE FROM idempotency_keys WHERE created_at < now() - interval '1 day'"
        )
