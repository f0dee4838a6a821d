"""`/stores/{ref}/mail`: the mails that a store keeps instead of sending them."""

from collections.abc import Sequence

from aiohttp import web

from services.gateway.api.authorization import Authorizer
from services.gateway.api.responses import NO_STORE, make_page_response
from services.gateway.mail_reading import MailReader
from services.gateway.request_parameters import get_path_mail_id, parse_mail_id, parse_number
from services.gateway.store_lookup import StoreLookup
from storefleet.http.problems import REQUEST_ID

_PATH = "/api/v1/stores/{ref}/mail"


class MailApi:
    """Handlers for the mails of the tenant's stores."""

    def __init__(self, *, authorizer: Authorizer, lookup: StoreLookup, mails: MailReader) -> None:
        self._authorizer = authorizer
        self._lookup = lookup
        self._mails = mails

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes of mails."""
        return (
            web.get(_PATH, self.list_mails),
            web.get(f"{_PATH}/{{mail_id}}", self.get_mail),
        )

    async def list_mails(self, request: web.Request) -> web.Response:
        """Return a page of the mails of a store, newest first, without their bodies."""
        principal = await self._authorizer.require_scope(request, "stores:read")
        store = await self._lookup.get_store(request, principal)
        page = await self._mails.list_mails(
            store,
            limit=parse_number(request, "limit", 25, 1, 100),
            starting_after=parse_mail_id(request, "starting_after"),
            request_id=request[REQUEST_ID],
        )
        response = make_page_response(
            [mail.to_json() for mail in page.data], has_more=page.has_more
        )
        response.headers.update(NO_STORE)
        return response

    async def get_mail(self, request: web.Request) -> web.Response:
        """Return a mail with its bodies; each call is recorded in the audit log."""
        principal = await self._authorizer.require_scope(request, "credentials:read")
        store = await self._lookup.get_store(request, principal)
        mail = await self._mails.open_mail(
            principal, store, get_path_mail_id(request), request_id=request[REQUEST_ID]
        )
        return web.json_response(mail.to_json(), headers=NO_STORE)
