"""Find a mail of a store the way its owner does: through the platform's API."""

from typing import Any

from tests.support.http.client import Api
from tests.support.services.polling import eventually


async def find_mail(
    api: Api, store_id: str, *, to: str, subject: str = "", within: float = 20
) -> dict[str, Any]:
    """Wait until a store lists a mail to an address, and open it.

    Args:
        api: A client of the store's owner.
        store_id: The store.
        to: An address that one of the recipients contains.
        subject: A text that the subject contains.
        within: Seconds to wait; engines may write a mail after the answer to the customer.

    Returns:
        The newest such mail, with its bodies.
    """

    async def look() -> str | None:
        listed = await api.get(f"/stores/{store_id}/mail?limit=100")
        assert listed.status == 200, listed.text
        for mail in listed.body["data"]:
            if subject in mail["subject"] and any(to in address for address in mail["to"]):
                return str(mail["id"])
        return None

    mail_id = await eventually(look, within=within, every=0.5)
    opened = await api.get(f"/stores/{store_id}/mail/{mail_id}")
    assert opened.status == 200, opened.text
    return dict(opened.body)
