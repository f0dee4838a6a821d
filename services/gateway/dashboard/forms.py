"""Submitted forms: read their fields and turn errors into messages beside the fields."""

import secrets
from collections.abc import Mapping

from aiohttp import web

from storefleet.core.errors import RequestError, UnreadableRequest
from storefleet.http.validation import is_storable_text

PARAMETER_FIELD_PREFIX = "parameters."
_FIELD_NAMES = {
    "/name": "The name",
    "/engine": "The engine",
    "/version": "The version",
    "/plan": "The plan",
}


async def read_form(request: web.Request) -> dict[str, str]:
    """Read the text fields of a form; of a repeated field the last value counts.

    Texts that cannot be stored are left out, except parameters: their rules say what is wrong.
    Raises UnreadableRequest if the boundary or the encoding of the body is invalid.
    """
    try:
        fields = await request.post()
    except (ValueError, LookupError) as error:  # LookupError: an unknown charset
        raise UnreadableRequest(
            f"The form is not readable: {type(error).__name__}. Reload the page and try again."
        ) from None
    return {
        name: value
        for name, value in fields.items()
        if isinstance(value, str)
        and (is_storable_text(value) or name.startswith(PARAMETER_FIELD_PREFIX))
    }


def get_idempotency_key(form: Mapping[str, str]) -> str:
    """Return the form's idempotency key, or a new one; a form sent twice then counts once."""
    return form.get("idempotency_key") or secrets.token_urlsafe(16)


def make_field_errors(
    error: RequestError | None, field_names: Mapping[str, str] | None = None
) -> list[dict[str, str]]:
    """Make the error messages of a form, each with the pointer of its field.

    `field_names` maps pointers to the names that the form shows for further fields.
    """
    if error is None:
        return []
    names = {**_FIELD_NAMES, **(field_names or {})}
    pairs = error.errors or (("", error.detail),)
    return [
        {"pointer": pointer, "detail": _make_error_sentence(names.get(pointer), detail)}
        for pointer, detail in pairs
    ]


def _make_error_sentence(field_name: str | None, detail: str) -> str:
    text = f"{field_name} {detail}" if field_name else detail
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
