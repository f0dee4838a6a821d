"""Read the mails of a store for the API and the dashboard, and record who opened one.

A mail may contain a link that resets the password of a customer or of the store's administrator.
Therefore a reader needs the scope `credentials:read` to open a mail, and an audit entry is added,
as for the admin credentials. The list has no bodies and needs neither.
"""

from services.gateway.mail_answers import Mail, MailPage
from services.gateway.mail_client import MailClient
from storefleet.core.models import Principal, Store
from storefleet.database.pool import Database


class MailReader:
    """Reads mails of stores that the caller has found with the principal's tenant."""

    def __init__(self, *, database: Database, client: MailClient) -> None:
        self._database = database
        self._client = client

    async def list_mails(
        self, store: Store, *, limit: int, starting_after: str | None, request_id: str
    ) -> MailPage:
        """Return a page of a store's mails, newest first; errors as in `MailClient.fetch_page`."""
        return await self._client.fetch_page(
            store, limit=limit, before=starting_after, request_id=request_id
        )

    async def open_mail(
        self, principal: Principal, store: Store, mail_id: str, *, request_id: str
    ) -> Mail:
        """Return a mail with its bodies, after its audit entry is committed.

        Errors are those of `MailClient.fetch_mail`.
        """
        mail = await self._client.fetch_mail(store, mail_id, request_id=request_id)
        async with self._database.transaction() as tx:
            await tx.audit_log.add_entry(
                tenant_id=principal.tenant_id,
                actor=principal.token_id or principal.user_id,
                action="mail.open",
                target=store.id,
                request_id=request_id,
            )
        return mail
