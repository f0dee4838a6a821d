"""What every list of goods starts from."""

from typing import Any

from oscar.apps.search import facets


def base_sqs() -> Any:
    """Oscar's query, but one read for all goods of a page instead of six for each; goods that are gone are left out."""
    return facets.base_sqs().load_all()
