"""Django's configuration of the forked communication application."""

from oscar.apps.communication import apps


class CommunicationConfig(apps.CommunicationConfig):  # type: ignore[misc]
    """Use Oscar's communication application with the classes of this package."""

    name = "storefleet_oscar.apps.communication"
