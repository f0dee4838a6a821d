"""Views of the dashboard of mail templates."""

from typing import Any

from django.contrib.messages import get_messages, success
from django.http import HttpResponse
from oscar.apps.dashboard.communications import views


class UpdateView(views.UpdateView):  # type: ignore[misc]
    """Edit the templates of a mail, and write one as an example."""

    def send_preview(self, form: Any) -> HttpResponse:
        """Write the example and say where it is."""
        response = super().send_preview(form)
        if not form.errors:
            list(get_messages(self.request))  # Oscar's own, which says that the mail was sent
            success(
                self.request,
                "The preview is in the store's mail outbox. This store does not send e-mail yet.",
            )
        return response
