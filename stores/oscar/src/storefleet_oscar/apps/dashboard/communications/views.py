"""Views of the dashboard of mail templates."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.template import TemplateSyntaxError
from oscar.apps.dashboard.communications import views


class UpdateView(views.UpdateView):  # type: ignore[misc]
    """Edit the templates of a mail, and write one as an example."""

    def send_preview(self, form: Any) -> HttpResponse:
        """Write the example and say where it is; Oscar's method says that it was sent."""
        example = form.save(commit=False)
        try:
            parts = example.get_messages(self.get_messages_context(form))
        except TemplateSyntaxError as error:
            form.add_error(None, str(error))
        else:
            views.Dispatcher().send_email_messages(form.cleaned_data["preview_email"], parts)
            messages.success(
                self.request,
                "The preview is in the store's mail outbox. This store does not send e-mail yet.",
            )
        return self.render_to_response(self.get_context_data(form=form))
