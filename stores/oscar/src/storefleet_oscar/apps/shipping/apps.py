"""Django's configuration of the forked shipping application."""

from oscar.apps.shipping import apps


class ShippingConfig(apps.ShippingConfig):  # type: ignore[misc]
    """Use Oscar's shipping with the classes of this package."""

    name = "storefleet_oscar.apps.shipping"
