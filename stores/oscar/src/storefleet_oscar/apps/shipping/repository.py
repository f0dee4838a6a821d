"""Which ways a basket may go out: one, so that the checkout does not ask."""

from oscar.apps.shipping import repository

from storefleet_oscar.apps.shipping.methods import Standard


class Repository(repository.Repository):  # type: ignore[misc]
    methods = (Standard(),)
