"""The home page."""

from typing import Any

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
    featured = browsable.filter(rangeproduct__range__slug=FEATURED).order_by("rangeproduct__display_order")
    return list(featured[:LIMIT]) or list(browsable.order_by("-date_created")[:LIMIT])
