"""The pages of a store's mails: the list, one mail, and its HTML in a sandbox."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from services.gateway.dashboard.page_shell import PageShell, render_template
from services.gateway.dashboard.view_models.mail import make_mail_list_view, make_mail_view
from services.gateway.mail_reading import MailReader
from services.gateway.request_parameters import get_path_mail_id, parse_mail_id
from services.gateway.store_lookup import StoreLookup
from storefleet.core.errors import (
    Conflict,
    LimitExceeded,
    NotFound,
    RequestError,
    RuntimeUnavailable,
    StoreAnswerInvalid,
    StoreMailUnavailable,
)
from storefleet.core.models import Principal, Store
from storefleet.http.problems import REQUEST_ID, make_problem_headers

_PAGE_SIZE = 25
#: What keeps the mails away while the rest of the platform works; the page says which.
_EXPLAINED_ERRORS = (
    Conflict,
    LimitExceeded,
    RuntimeUnavailable,
    StoreAnswerInvalid,
    StoreMailUnavailable,
)
#: The HTML is the store's. It can run no script, load nothing, send no form, and open or navigate
#: nothing but its own frame; the header holds even if the address is opened outside the frame.
_HTML_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-DNS-Prefetch-Control": "off",
    "X-Frame-Options": "SAMEORIGIN",
}


class MailPages:
    """Shows the mails of the tenant's stores."""

    def __init__(self, *, page_shell: PageShell, lookup: StoreLookup, mails: MailReader) -> None:
        self._page_shell = page_shell
        self._lookup = lookup
        self._mails = mails

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes of the pages."""
        return (
            web.get("/stores/{ref}/mail", self.show_list),
            web.get("/stores/{ref}/mail/{mail_id}", self.show_mail),
            web.get("/stores/{ref}/mail/{mail_id}/html", self.show_html),
        )

    async def show_list(self, request: web.Request) -> web.StreamResponse:
        """Show a page of a store's mails, or why they cannot be read."""
        user = await self._page_shell.require_signed_in_user(request)
        context = await self._page_shell.make_context(request, user)
        store = await self._lookup.get_store(request, user)
        starting_after = parse_mail_id(request, "starting_after")
        try:
            page = await self._mails.list_mails(
                store,
                limit=_PAGE_SIZE,
                starting_after=starting_after,
                request_id=request[REQUEST_ID],
            )
        except _EXPLAINED_ERRORS as error:
            return _render("stores/mail_list.html", request, context, store, error)
        view = make_mail_list_view(page, starting_after=starting_after)
        return _render("stores/mail_list.html", request, context | {"mails": view}, store)

    async def show_mail(self, request: web.Request) -> web.StreamResponse:
        """Show a mail; each call is recorded in the audit log."""
        user = await self._page_shell.require_signed_in_user(request)
        context = await self._page_shell.make_context(request, user)
        store = await self._lookup.get_store(request, user)
        try:
            mail = await self._mails.open_mail(
                user, store, get_path_mail_id(request), request_id=request[REQUEST_ID]
            )
        except _EXPLAINED_ERRORS as error:
            return _render("stores/mail.html", request, context, store, error)
        return _render("stores/mail.html", request, context | {"mail": make_mail_view(mail)}, store)

    async def show_html(self, request: web.Request) -> web.StreamResponse:
        """Return the HTML of a mail, for the frame of its page."""
        user: Principal = await self._page_shell.require_signed_in_user(request)
        store = await self._lookup.get_store(request, user)
        mail = await self._mails.open_mail(
            user, store, get_path_mail_id(request), request_id=request[REQUEST_ID]
        )
        if mail.html is None:
            raise NotFound("This mail has no HTML.")
        return web.Response(
            text=mail.html, content_type="text/html", charset="utf-8", headers=_HTML_HEADERS
        )


def _render(
    template: str,
    request: web.Request,
    context: dict[str, Any],
    store: Store,
    error: RequestError | None = None,
) -> web.StreamResponse:
    """Render a page with the mails of its context, or with the reason why there are none."""
    problem = None
    if error is not None:
        problem = {
            "detail": error.detail,
            "code": error.code,
            "retryable": not isinstance(error, Conflict),
        }
    shown = {"mails": None, "mail": None, "problem": problem, "store": store.to_json(), **context}
    response = render_template(
        template, request, shown, status=error.status if error is not None else 200
    )
    if error is not None:
        response.headers.update(make_problem_headers(error))
    return response
