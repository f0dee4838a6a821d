"""The search form, and the forms of the catalogue's lists."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from oscar.core.loading import get_model

from storefleet_oscar.apps.search import queries

SORT_CHOICES = (
    (queries.RELEVANCY, "Relevancy"),
    (queries.RATING, "Customer rating"),
    (queries.NEWEST, "Newest"),
    (queries.PRICE_DESCENDING, "Price high to low"),
    (queries.PRICE_ASCENDING, "Price low to high"),
    (queries.TITLE_ASCENDING, "Title A to Z"),
    (queries.TITLE_DESCENDING, "Title Z to A"),
)


class SearchInput(forms.TextInput):  # type: ignore[misc]
    """An input of HTML's type `search`."""

    input_type = "search"


class SearchForm(forms.Form):  # type: ignore[misc]
    """A text to search for and an order; a value that is not valid counts as absent."""

    q = forms.CharField(
        required=False,
        label="Search",
        widget=SearchInput(
            {
                "placeholder": "Search",
                "tabindex": "1",
                "class": "form-control",
                "maxlength": queries.QUERY_LENGTH_MAX,
            }
        ),
    )
    sort_by = forms.ChoiceField(label="Sort by", choices=SORT_CHOICES, required=False)

    def read_value(self, name: str) -> str:
        """Return the value of a field, empty if it is absent or not valid."""
        self.is_valid()
        return str(self.cleaned_data.get(name) or "")

    def search(self) -> QuerySet:
        """Return the products that match; none without a text."""
        text = self.read_value("q")
        if not text.strip():
            return get_model("catalogue", "Product").objects.none()
        return queries.list_products(text, order=self.read_value("sort_by"))


class BrowseCategoryForm(SearchForm):
    """The form of the list of all products."""

    def search(self) -> QuerySet:
        """Return the products that match; all of them without a text."""
        return queries.list_products(self.read_value("q"), order=self.read_value("sort_by"))


class CategoryForm(BrowseCategoryForm):
    """The form of a category's list."""

    def __init__(self, *args: Any, categories: QuerySet, **kwargs: Any) -> None:
        self._categories = categories
        super().__init__(*args, **kwargs)

    def search(self) -> QuerySet:
        """Return the matching products of the category and of those below it."""
        return queries.list_products(
            self.read_value("q"), order=self.read_value("sort_by"), categories=self._categories
        )
