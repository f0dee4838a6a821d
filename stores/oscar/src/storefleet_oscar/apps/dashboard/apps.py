"""Django's configuration of the forked dashboard."""

from typing import Any

from django.urls import path
from oscar.apps.dashboard import apps
from oscar.core.loading import get_class


class DashboardConfig(apps.DashboardConfig):  # type: ignore[misc]
    """Use Oscar's dashboard with the classes of this package."""

    name = "storefleet_oscar.apps.dashboard"

    def configure_permissions(self) -> None:
        """Let staff open and close the storefront."""
        super().configure_permissions()
        permission = get_class("dashboard.permissions", "DashboardPermission")
        self.permissions_map["storefront"] = permission.staff

    def ready(self) -> None:
        """Load the views."""
        super().ready()
        self.storefront_view = get_class("dashboard.views", "StorefrontView")

    def get_urls(self) -> list[Any]:
        """Return the dashboard's URLs."""
        page = path("storefront/", self.storefront_view.as_view(), name="storefront")
        return [*super().get_urls(), *self.post_process_urls([page])]
