"""The home page."""

from typing import Any

from django.views.generic import TemplateView
from oscar.core.loading import get_model

#: The range whose products are shown; the shop's owner edits it on the dashboard.
FEATURED = "featured"
LIMIT = 12


class HomeView(TemplateView):
    template_name = "storefleet/home.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(products=_products(), **kwargs)


def _products() -> list[Any]:
    """What is featured, or what is newest when nothing is."""
    browsable = get_model("catalogue", "Product").objects.browsable().base_queryset()
    featured = get_model("offer", "Range").objects.filter(slug=FEATURED).first()
    chosen = featured.all_products().browsable().base_queryset() if featured else browsable.none()
    return list(chosen[:LIMIT]) or list(browsable.order_by("-date_created")[:LIMIT])
