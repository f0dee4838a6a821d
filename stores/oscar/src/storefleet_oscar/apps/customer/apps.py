"""Django's configuration of the forked customer application."""

from oscar.apps.customer import apps


class CustomerConfig(apps.CustomerConfig):  # type: ignore[misc]
    """Use Oscar's customer application with the classes of this package."""

    name = "storefleet_oscar.apps.customer"
