"""The audit log: which principal did what to which target."""

from storefleet.database.connection import Connection


class AuditLog:
    """Adds audit entries; they are never changed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add_entry(
        self, *, tenant_id: str, actor: str, action: str, target: str, request_id: str | None
    ) -> None:
        """Add an audit entry.

        Args:
            tenant_id: The tenant of the principal.
            actor: The id of the user or token.
            action: What was done, such as `store.delete`.
            target: The id of the object.
            request_id: The id of the HTTP request, if it came with one.
        """
        await self._connection.execute(
            """
            INSERT INTO audit (tenant_id, actor, action, target, request_id)
            VALUES ($1, $2, $3, $4, $5)""",
            tenant_id,
            actor,
            action,
            target,
            request_id,
        )
