"""Open and close the storefront, as the owner chooses on Oscar's dashboard."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.loader import render_to_string

from storefleet_oscar.models import STATE_ID, StoreState

RETRY_AFTER_S = 3600
#: What stays reachable while the storefront is closed: the admin and the way to sign in there.
OPEN_PREFIXES = ("/dashboard/", "/password-reset/")


def is_storefront_open() -> bool:
    """Check whether the owner has not closed the storefront; raises DatabaseError."""
    return not StoreState.objects.filter(pk=STATE_ID, is_open=False).exists()


class ClosedStorefront:
    """Answer customers with a page that says that the store is closed, while it is.

    Staff who are signed in see the storefront.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass the request on, or answer it with status 503."""
        if request.path_info.startswith(OPEN_PREFIXES) or is_storefront_open():
            return self._get_response(request)
        if request.user.is_staff:
            request.is_storefront_closed = True
            return self._get_response(request)
        return _render_closed_page()


def _render_closed_page() -> HttpResponse:
    from django.conf import settings

    message = (
        StoreState.objects.filter(pk=STATE_ID).values_list("closed_message", flat=True).first()
    )
    page = render_to_string(
        "storefleet/closed.html", {"shop_name": settings.OSCAR_SHOP_NAME, "message": message}
    )
    headers = {"Retry-After": str(RETRY_AFTER_S), "Cache-Control": "no-store"}
    return HttpResponse(page, status=503, headers=headers)
