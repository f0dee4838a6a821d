"""The methods that a basket can be shipped with.

There is one only, so the checkout skips the page that offers a choice.
"""

from oscar.apps.shipping import repository

from storefleet_oscar.apps.shipping.methods import Standard


class Repository(repository.Repository):  # type: ignore[misc]
    """Offer standard delivery for every basket."""

    methods = (Standard(),)
