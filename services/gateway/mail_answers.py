"""Models of what a store answers about its mails.

A store is not trusted: its owner controls its code, and its customers what it writes. Therefore
the structure is validated strictly, whereas texts that are too long are cut: a customer with a long
name must not make all mails unavailable.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic.types import StringConstraints

from storefleet.core.models import format_timestamp

MAX_ANSWER_BYTES = 2 << 20
_MAX_BODY_BYTES = 256 << 10
_MAX_TEXT_LENGTH = 1000
_MAX_RECIPIENTS = 50


class BrokenAnswer(ValueError):
    """A store's answer breaks the protocol; the text is the end of a sentence about it.

    The text contains nothing of the answer.
    """


def _convert_to_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("the time is out of range") from None


def _cut_text(value: str) -> str:
    return value if len(value) <= _MAX_TEXT_LENGTH else value[: _MAX_TEXT_LENGTH - 1] + "…"


def _cut_recipients(value: tuple[str, ...]) -> tuple[str, ...]:
    return value[:_MAX_RECIPIENTS]


_ShortText = Annotated[str, AfterValidator(_cut_text)]


class MailSummary(BaseModel):
    """A mail without its bodies; unknown fields of the answer are ignored.

    Attributes:
        id: A number of up to 19 digits; a newer mail has a higher one.
        created_at: When the store would have sent it, in UTC.
        sender: The `From` header.
        to: The recipients, 50 at most.
        subject: The subject, cut at 1000 characters like the other texts.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    id: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,19}$")]
    created_at: Annotated[AwareDatetime, AfterValidator(_convert_to_utc)]
    sender: _ShortText = Field(alias="from")
    to: Annotated[tuple[_ShortText, ...], AfterValidator(_cut_recipients)]
    subject: _ShortText

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of the HTTP API."""
        return {
            "id": self.id,
            "created_at": format_timestamp(self.created_at),
            "from": self.sender,
            "to": list(self.to),
            "subject": self.subject,
        }


class Mail(MailSummary):
    """A mail with its bodies.

    Attributes:
        text: The plain text; None if it has none.
        html: The HTML, exactly as the store made it: never show it outside a sandbox.
        truncated: Whether a body was cut at 256 KiB, by the store or here.
    """

    text: str | None
    html: str | None
    truncated: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of the HTTP API."""
        bodies = {"text": self.text, "html": self.html, "truncated": self.truncated}
        return super().to_json() | bodies

    def cut_bodies(self) -> Self:
        """Return the mail with bodies of at most 256 KiB each."""
        text, html = _cut_body(self.text), _cut_body(self.html)
        is_cut = (text, html) != (self.text, self.html)
        return self.model_copy(
            update={"text": text, "html": html, "truncated": self.truncated or is_cut}
        )


class MailPage(BaseModel):
    """A page of mails, newest first."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    data: tuple[MailSummary, ...]
    has_more: bool


def parse_mail_page(body: bytes, *, limit: int, before: str | None) -> MailPage:
    """Parse the answer to a request for a list.

    Raises:
        BrokenAnswer: It is no list, or not the requested one. Ids that do not descend would make a
            client that follows the pages repeat them for ever.
    """
    try:
        page = MailPage.model_validate_json(body)
    except ValidationError as error:
        raise BrokenAnswer(_describe_violation(error)) from None
    ids = [int(mail.id) for mail in page.data]
    bounds = [10**19 if before is None else int(before), *ids]
    if len(ids) > limit:
        raise BrokenAnswer("lists more mails than were requested")
    if any(newer <= older for newer, older in zip(bounds, ids, strict=False)):
        raise BrokenAnswer("lists mails that were not requested, or not newest first")
    if page.has_more and not ids:
        raise BrokenAnswer("says that there are more mails, but lists none")
    return page


def parse_mail(body: bytes, *, mail_id: str) -> Mail:
    """Parse the answer to a request for one mail.

    Raises:
        BrokenAnswer: It is no mail, or another one.
    """
    try:
        mail = Mail.model_validate_json(body)
    except ValidationError as error:
        raise BrokenAnswer(_describe_violation(error)) from None
    if int(mail.id) != int(mail_id):
        raise BrokenAnswer("shows another mail than the requested one")
    return mail.cut_bodies()


def _cut_body(body: str | None) -> str | None:
    if body is None or len(body) * 4 <= _MAX_BODY_BYTES:
        return body
    return body.encode()[:_MAX_BODY_BYTES].decode(errors="ignore")


def _describe_violation(error: ValidationError) -> str:
    """Name the first field that is wrong; never quote it, because it may be a customer's data."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    return f"has a wrong field {field}" if field else "is not the expected JSON"
