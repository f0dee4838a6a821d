"""The platform's application, and forks of Oscar's; Oscar finds each by its label."""

from django.apps import AppConfig


class StorefleetConfig(AppConfig):  # type: ignore[misc]
    """The platform's own tables, templates and static files in a store."""

    name = "storefleet_oscar"
    label = "storefleet_oscar"

    def ready(self) -> None:
        """Replace what Oscar has no setting for: rules of addresses, and counters."""
        from storefleet_oscar import addresses, analytics

        addresses.install_rules()
        analytics.install_counter()
