"""Django's configuration of the forked search application."""

from oscar.apps.search import apps


class SearchConfig(apps.SearchConfig):  # type: ignore[misc]
    """Use Oscar's search with the classes of this package."""

    name = "storefleet_oscar.apps.search"
