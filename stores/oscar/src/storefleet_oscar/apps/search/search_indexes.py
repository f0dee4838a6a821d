"""The search engine looks for this module in every application."""

from oscar.apps.search.search_indexes import ProductIndex

__all__ = ["ProductIndex"]
