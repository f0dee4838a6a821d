"""Views of the search; those that are not here are Oscar's."""
