"""The platform's own tables in a store: its state, and the outbox of its mails."""

from django.db import models

#: The primary key of the only row of StoreState.
STATE_ID = 1


class StoreState(models.Model):
    """The state of the store, in one row, which the set-up of a new store creates."""

    installed_at = models.DateTimeField(auto_now_add=True)
    #: The address that the platform applied to the site. Another address there is the owner's.
    #: Empty in a store of an earlier version, until its next start.
    domain = models.CharField(max_length=300, blank=True)
    is_open = models.BooleanField(default=True)
    closed_message = models.TextField(blank=True)

    def __str__(self) -> str:
        return "open" if self.is_open else "closed"


class OutboxMail(models.Model):
    """A mail that the store would send. The owner reads it on the platform's dashboard."""

    created_at = models.DateTimeField(auto_now_add=True)
    sender = models.TextField()
    recipients = models.JSONField()
    subject = models.TextField()
    text = models.TextField(null=True)  # noqa: DJ001 - null means that the mail has no such part
    html = models.TextField(null=True)  # noqa: DJ001
    is_truncated = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.subject
