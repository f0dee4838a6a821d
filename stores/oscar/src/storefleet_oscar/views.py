"""The home page, and the page that is shown when one fails."""

import sys
from typing import Any

from django.conf import settings
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.generic import TemplateView
from oscar.core.loading import get_model

#: The range whose products are shown; the shop's owner edits it on the dashboard.
FEATURED = "featured"
LIMIT = 12


class HomeView(TemplateView):  # type: ignore[misc]
    template_name = "storefleet/home.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_context_data(**kwargs), "products": _products()}


def _products() -> list[Any]:
    """What is featured, in the owner's order, or what is newest when nothing is."""
    browsable = get_model("catalogue", "Product").objects.browsable().base_queryset()
    featured = browsable.filter(rangeproduct__range__slug=FEATURED).order_by(
        "rangeproduct__display_order"
    )
    return list(featured[:LIMIT]) or list(browsable.order_by("-date_created")[:LIMIT])


def failed(_request: HttpRequest) -> HttpResponse:
    """500, or 503 when it is the database that is away; asks nothing of the database or the session."""
    away = isinstance(sys.exc_info()[1], OperationalError)
    page = render_to_string(
        "storefleet/failed.html", {"shop_name": settings.OSCAR_SHOP_NAME, "away": away}
    )
    return (
        HttpResponse(page, status=503, headers={"Retry-After": "5"})
        if away
        else HttpResponse(page, status=500)
    )
