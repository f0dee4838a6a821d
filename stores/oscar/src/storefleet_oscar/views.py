"""The home page and the error page."""

import sys
from typing import Any

from django.conf import settings
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.generic import TemplateView
from oscar.core.loading import get_model

#: The range whose products the home page shows; the owner edits it on Oscar's dashboard.
FEATURED_RANGE = "featured"
HOME_PRODUCTS_MAX = 12


class HomeView(TemplateView):  # type: ignore[misc]
    """The storefront's home page."""

    template_name = "storefleet/home.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the products that the page shows."""
        return {**super().get_context_data(**kwargs), "products": _list_home_products()}


def _list_home_products() -> list[Any]:
    """Return the featured products in the owner's order; the newest ones if none is featured."""
    browsable = get_model("catalogue", "Product").objects.browsable().base_queryset()
    featured = browsable.filter(rangeproduct__range__slug=FEATURED_RANGE).order_by(
        "rangeproduct__display_order"
    )
    return list(featured[:HOME_PRODUCTS_MAX]) or list(
        browsable.order_by("-date_created")[:HOME_PRODUCTS_MAX]
    )


def render_failure(_request: HttpRequest) -> HttpResponse:
    """Render the error page without database or session: 503 if the database is unavailable."""
    is_unavailable = isinstance(sys.exc_info()[1], OperationalError)
    page = render_to_string(
        "storefleet/failed.html",
        {"shop_name": settings.OSCAR_SHOP_NAME, "is_unavailable": is_unavailable},
    )
    if is_unavailable:
        return HttpResponse(page, status=503, headers={"Retry-After": "5"})
    return HttpResponse(page, status=500)
