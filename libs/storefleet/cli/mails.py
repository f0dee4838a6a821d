"""Format the mails of a store for terminals. Their texts are the store's and not trusted."""

from collections.abc import Mapping, Sequence
from typing import Any

from storefleet.cli.formatting import format_age, format_fields, format_table, sanitize_text

_HTML_ONLY = "This mail has HTML only. To save it: --output json, field “html”."


def format_mail_list(mails: Sequence[Mapping[str, Any]]) -> list[str]:
    """Format mails as a table; nothing for an empty list.

    Args:
        mails: The mails as the API lists them.
    """
    rows = [
        (mail["id"], format_age(mail["created_at"]), ", ".join(mail["to"]), mail["subject"])
        for mail in mails
    ]
    return format_table(rows, ("ID", "AGE", "TO", "SUBJECT")) if rows else []


def format_mail(mail: Mapping[str, Any]) -> list[str]:
    """Format a mail: its header fields, an empty line, and its text.

    Args:
        mail: The mail as the API returns it.
    """
    fields = {
        "From": mail["from"],
        "To": ", ".join(mail["to"]),
        "Subject": mail["subject"],
        "Date": mail["created_at"],
        "Note": "cut at 256 KiB" if mail["truncated"] else None,
    }
    text = mail["text"]
    if text is None:
        text = _HTML_ONLY if mail["html"] is not None else ""
    return [*format_fields(fields), "", *sanitize_text(text).splitlines()]
