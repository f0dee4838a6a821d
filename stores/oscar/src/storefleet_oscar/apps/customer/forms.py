"""Forms of the customer application."""

from django.core.exceptions import NON_FIELD_ERRORS
from oscar.apps.customer import forms


class ProductAlertForm(forms.ProductAlertForm):  # type: ignore[misc]
    """The form of a stock alert."""

    def _clean_form(self) -> None:
        """Replace Oscar's error, which says that an e-mail was sent."""
        super()._clean_form()
        if NON_FIELD_ERRORS in self.errors:
            message = "We have noted already that this address waits for a product."
            self.errors[NON_FIELD_ERRORS] = self.error_class([message])
