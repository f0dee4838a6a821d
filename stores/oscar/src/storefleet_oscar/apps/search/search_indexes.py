"""Haystack loads the module of this name from every application."""

from oscar.apps.search.search_indexes import ProductIndex

__all__ = ["ProductIndex"]
