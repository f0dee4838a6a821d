"""The mail outbox: the store keeps its mails in its database and never connects to a mail server.

`OutboxBackend` is Django's e-mail backend; `platform_pages` serves the mails to the platform.
"""

import logging
from collections.abc import Sequence
from email.errors import MessageError
from email.header import decode_header, make_header
from typing import Any

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.db import DatabaseError, transaction

from storefleet_oscar.models import OutboxMail

KEPT_MAILS = 200
BODY_SIZE_MAX_BYTES = 256 * 1024
#: Bounds of one row; an address has at most 320 characters.
SUBJECT_LENGTH_MAX = 998
SENDER_LENGTH_MAX = 700
RECIPIENTS_MAX = 50

_log = logging.getLogger(__name__)


class OutboxBackend(BaseEmailBackend):  # type: ignore[misc]
    """Keeps mails in the database; a mail that cannot be kept never fails what caused it."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Store the mails and return how many were stored."""
        kept = 0
        for message in email_messages:
            try:
                # A savepoint: the request's own transaction continues after a failure here.
                with transaction.atomic():
                    keep_mail(message)
                kept += 1
            except (DatabaseError, ValueError, TypeError, LookupError) as error:
                _log.warning("A mail was not stored in the outbox: %s", type(error).__name__)
        return kept


def keep_mail(message: EmailMessage) -> None:
    """Store a mail and delete those beyond the newest 200."""
    bodies = {"text": str(message.body or ""), "html": _find_html(message)}
    if message.content_subtype == "html":
        bodies = {"text": None, "html": bodies["text"]}
    cut = {kind: _cut(body) for kind, body in bodies.items()}
    OutboxMail.objects.create(
        sender=_make_line(_decode_header(message.from_email))[:SENDER_LENGTH_MAX],
        recipients=[
            _make_line(str(address))[:SENDER_LENGTH_MAX]
            for address in message.recipients()[:RECIPIENTS_MAX]
        ],
        subject=_make_line(str(message.subject))[:SUBJECT_LENGTH_MAX],
        is_truncated=cut != bodies,
        **cut,
    )
    newest = OutboxMail.objects.order_by("-pk").values_list("pk", flat=True)
    surplus = list(newest[KEPT_MAILS : KEPT_MAILS + 1])
    if surplus:
        OutboxMail.objects.filter(pk__lte=surplus[0]).delete()


def _find_html(message: EmailMessage) -> str | None:
    for alternative in getattr(message, "alternatives", ()):
        content, mimetype = alternative
        if mimetype == "text/html":
            return str(content)
    return None


def _cut(body: str | None) -> str | None:
    """Return a body that PostgreSQL can store and that has at most 256 KiB."""
    if body is None:
        return None
    return _clean(body).encode()[:BODY_SIZE_MAX_BYTES].decode(errors="ignore")


def _decode_header(value: str) -> str:
    """Decode encoded words (RFC 2047); a store's title may look like one without being one."""
    try:
        return str(make_header(decode_header(value)))
    except (MessageError, LookupError, ValueError):
        return value


def _make_line(text: str) -> str:
    """Return the value of a header, which is one line."""
    return " ".join(_clean(text).split())


def _clean(text: str) -> str:
    return text.replace("\0", "").encode(errors="replace").decode()


def list_mails(*, limit: int, before: int | None) -> dict[str, Any]:
    """Return a page of mails, newest first, as docs/engines.md defines it."""
    mails = OutboxMail.objects.order_by("-pk").defer("text", "html")
    if before is not None:
        mails = mails.filter(pk__lt=before)
    found = list(mails[: limit + 1])
    return {"data": [_describe(mail) for mail in found[:limit]], "has_more": len(found) > limit}


def find_mail(mail_id: int) -> dict[str, Any] | None:
    """Return one mail with its bodies; None if there is none of this id."""
    mail = OutboxMail.objects.filter(pk=mail_id).first()
    if mail is None:
        return None
    bodies = {"text": mail.text, "html": mail.html, "truncated": mail.is_truncated}
    return {**_describe(mail), **bodies}


def _describe(mail: OutboxMail) -> dict[str, Any]:
    return {
        "id": str(mail.pk),
        "created_at": mail.created_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "from": mail.sender,
        "to": mail.recipients,
        "subject": mail.subject,
    }
