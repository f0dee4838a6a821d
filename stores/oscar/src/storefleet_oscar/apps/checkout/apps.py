"""Django's configuration of the forked checkout application."""

from oscar.apps.checkout import apps


class CheckoutConfig(apps.CheckoutConfig):  # type: ignore[misc]
    """Use Oscar's checkout with the classes of this package."""

    name = "storefleet_oscar.apps.checkout"
