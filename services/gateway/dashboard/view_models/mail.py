"""View models of mails: the texts of a store, made safe to look at.

The templates escape markup. Characters that no markup hides are replaced here: controls, and the
marks with which a text can show itself in another order than it is written.
"""

from typing import Any

from services.gateway.mail_answers import Mail, MailPage, MailSummary

_SHOWN_CONTROLS = (0x09, 0x0A, 0x0D)
_UNSAFE_CHARACTERS = dict.fromkeys(
    (
        *(code for code in range(0x20) if code not in _SHOWN_CONTROLS),
        *range(0x7F, 0xA0),
        *range(0x202A, 0x202F),  # embeddings and overrides of the direction
        *range(0x2066, 0x206A),  # isolates
    ),
    "\N{REPLACEMENT CHARACTER}",
)


def make_mail_list_view(page: MailPage, *, starting_after: str | None) -> dict[str, Any]:
    """Make the view of a page of mails."""
    return {
        "entries": [_make_summary_view(mail) for mail in page.data],
        "next": page.data[-1].id if page.has_more else None,
        "starting_after": starting_after,
    }


def make_mail_view(mail: Mail) -> dict[str, Any]:
    """Make the view of a mail; its HTML is shown by another route, in a sandbox."""
    return _make_summary_view(mail) | {
        "text": None if mail.text is None else mail.text.translate(_UNSAFE_CHARACTERS),
        "has_html": mail.html is not None,
        "truncated": mail.truncated,
    }


def _make_summary_view(mail: MailSummary) -> dict[str, Any]:
    shown = mail.to_json()
    return {
        "id": mail.id,
        "created_at": shown["created_at"],
        "from": _join_lines(mail.sender),
        "to": ", ".join(_join_lines(address) for address in mail.to),
        "subject": _join_lines(mail.subject),
    }


def _join_lines(text: str) -> str:
    return " ".join(text.translate(_UNSAFE_CHARACTERS).split())
