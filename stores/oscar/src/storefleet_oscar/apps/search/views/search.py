"""The search of customers."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from oscar.apps.search.views import search

from storefleet_oscar.apps.search.queries import QUERY_LENGTH_MAX


class FacetedSearchView(search.FacetedSearchView):  # type: ignore[misc]
    """Search for products, and record what signed-in customers search for."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Cut the text to what the record can hold; a zero byte cannot be stored at all."""
        request.GET = request.GET.copy()
        request.GET["q"] = request.GET.get("q", "").replace("\0", "")[:QUERY_LENGTH_MAX]
        return super().dispatch(request, *args, **kwargs)
