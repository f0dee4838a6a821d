"""Path and query parameters of the API and the dashboard, checked and converted.

An invalid query parameter raises `InvalidRequest` with the pointer `/<parameter>`. An invalid id in
the path raises `NotFound`, because no resource can have it.
"""

import re
from enum import StrEnum
from typing import TypeVar

from aiohttp import web

from storefleet.core.errors import InvalidRequest, NotFound
from storefleet.core.identifiers import STORE_PREFIX, is_id
from storefleet.http.validation import is_storable_text

_STORE_NAME_PATTERN = re.compile(r"[a-z0-9-]{1,63}")
_MAIL_ID_PATTERN = re.compile(r"[0-9]{1,19}")
_MAX_DIGITS = 9
_MAX_TEXT_LENGTH = 100
_ChoiceT = TypeVar("_ChoiceT", bound=StrEnum)


def parse_number(request: web.Request, name: str, default: int, minimum: int, maximum: int) -> int:
    """Return the query parameter as a whole number within the limits, or the default."""
    text = request.query.get(name)
    if text is None:
        return default
    is_number = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    if not (is_number and minimum <= int(text) <= maximum):
        rule = f"must be a number from {minimum} to {maximum}"
        raise InvalidRequest(f"The parameter “{name}” {rule}.", errors=[(f"/{name}", rule)])
    return int(text)


def parse_choice(request: web.Request, name: str, choices: type[_ChoiceT]) -> _ChoiceT | None:
    """Return the query parameter as a member of an enumeration; None if it is absent or empty."""
    text = request.query.get(name, "")
    if not text:
        return None
    try:
        return choices(text)
    except ValueError:
        rule = f"must be one of: {', '.join(choices)}"
        raise InvalidRequest(
            f"The parameter “{name}” {rule}.", errors=[(f"/{name}", rule)]
        ) from None


def parse_text(request: web.Request, name: str) -> str | None:
    """Return the query parameter as text of up to 100 characters; None if it is absent or empty."""
    text = request.query.get(name, "")
    if not text:
        return None
    if len(text) > _MAX_TEXT_LENGTH or not is_storable_text(text):
        rule = f"must be text without control characters, at most {_MAX_TEXT_LENGTH} characters"
        raise InvalidRequest(f"The parameter “{name}” {rule}.", errors=[(f"/{name}", rule)])
    return text


def parse_id(request: web.Request, name: str, prefix: str) -> str | None:
    """Return the query parameter as an id with this prefix; None if it is absent."""
    text = request.query.get(name)
    if text is None:
        return None
    if not is_id(text, prefix):
        rule = f"must be an id ({prefix}_…)"
        raise InvalidRequest(f"The parameter “{name}” {rule}.", errors=[(f"/{name}", rule)])
    return text


def parse_mail_id(request: web.Request, name: str) -> str | None:
    """Return the query parameter as the id of a mail; None if it is absent."""
    text = request.query.get(name)
    if text is not None and not _MAIL_ID_PATTERN.fullmatch(text):
        rule = "must be the id of a mail, a number of up to 19 digits"
        raise InvalidRequest(f"The parameter “{name}” {rule}.", errors=[(f"/{name}", rule)])
    return text


def get_path_mail_id(request: web.Request) -> str:
    """Return the id of a mail in the path; raise NotFound if it is none."""
    text = request.match_info["mail_id"]
    if not _MAIL_ID_PATTERN.fullmatch(text):
        raise NotFound("Mail not found: the id of a mail is a number of up to 19 digits.")
    return text


def get_store_ref(request: web.Request) -> str:
    """Return the store id or store name in the path; raise NotFound if it is neither."""
    ref = request.match_info["ref"]
    if not (is_id(ref, STORE_PREFIX) or _STORE_NAME_PATTERN.fullmatch(ref)):
        raise NotFound("Store not found.")
    return ref


def get_path_id(request: web.Request, prefix: str) -> str:
    """Return the id in the path; raise NotFound if it is not an id with this prefix."""
    text = request.match_info["id"]
    if not is_id(text, prefix):
        raise NotFound(f"Not found: “{text[:40]}” is not an id ({prefix}_…).")
    return text
