"""Views of stock alerts."""

from django.contrib import messages
from oscar.apps.customer.alerts import views


class ProductAlertCreateView(views.ProductAlertCreateView):  # type: ignore[misc]
    """Record a customer's interest in a product that is out of stock."""

    def get_success_url(self) -> str:
        """Return the product's page, with a message that promises no e-mail."""
        messages.success(self.request, "We have noted that you want this product.")
        return str(self.object.product.get_absolute_url())
