"""The view that Oscar's lists and search are derived from."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.views.generic import ListView


@dataclass(frozen=True)
class Hit:
    """A product in a list, under the name that Oscar's templates use."""

    object: Any


class HitPaginator(Paginator):  # type: ignore[misc]
    """Divides products into pages of hits."""

    def page(self, number: Any) -> Page:
        """Return a page of hits."""
        page = super().page(number)
        page.object_list = [Hit(product) for product in page.object_list]
        return page


class BaseSearchView(ListView):  # type: ignore[misc]
    """A list of the products that the view's form finds."""

    form_class: Any = None
    form_name = "form"
    paginate_by = settings.OSCAR_PRODUCTS_PER_PAGE
    paginator_class = HitPaginator

    def get_form_kwargs(self) -> dict[str, Any]:
        """Return the arguments of the form."""
        return {"data": self.request.GET}

    def get_queryset(self) -> QuerySet:
        """Return the products."""
        self.form = self.form_class(**self.get_form_kwargs())
        found: QuerySet = self.form.search()
        return found

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Return what Oscar's templates read."""
        context: dict[str, Any] = super().get_context_data(**kwargs)
        context |= {
            self.form_name: self.form,
            "search_form": self.form,
            "query": self.form.read_value("q"),
            "selected_facets": [],
            self.page_kwarg: context["page_obj"],
        }
        context[self.context_object_name] = context["page_obj"].object_list
        return context
