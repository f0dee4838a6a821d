"""Views of the dashboard of users."""

from django.contrib import messages
from django.urls import reverse
from oscar.apps.dashboard.users import views


class PasswordResetView(views.PasswordResetView):  # type: ignore[misc]
    """Write a customer's mail with the link that resets the password."""

    def get_success_url(self) -> str:
        """Return the customer's page, with a message that says where the mail is."""
        messages.success(
            self.request,
            "The password reset e-mail is in the store's mail outbox. This store does not send"
            " e-mail yet.",
        )
        return reverse("dashboard:user-detail", kwargs={"pk": self.object.id})
