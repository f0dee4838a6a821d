"""Oscar's models, with texts of mails that are not escaped for HTML."""

from typing import Any

from django.template import engines
from oscar.apps.communication import abstract_models

#: The parts of a message that are plain text, and the model's fields with the owner's templates.
TEXT_PARTS = {
    "subject": "email_subject_template",
    "body": "email_body_template",
    "sms": "sms_template",
}


class CommunicationEventType(abstract_models.AbstractCommunicationEventType):  # type: ignore[misc]
    """A kind of mail, whose templates the owner can edit."""

    def get_messages(self, ctx: dict[str, Any] | None = None) -> dict[str, str]:
        """Render the parts of the mail.

        The engine `text` finds the templates in files by itself; see settings.TEMPLATES. Those of
        the owner are in the database, where Oscar renders all of them as HTML.
        """
        messages: dict[str, str] = super().get_messages(ctx)
        for part, field in TEXT_PARTS.items():
            if (template := getattr(self, field)) is not None:
                messages[part] = engines["text"].from_string(template).render(ctx or {})
        messages["subject"] = " ".join(messages["subject"].split())
        return messages


from oscar.apps.communication.models import *  # noqa: E402, F403 - the models that are not here
