"""Read JSON bodies and check that PostgreSQL can store them.

The fields of a body are checked by the gateway's models, after this.
"""

import json
import math
from typing import Any

from aiohttp import web

from storefleet.core.errors import InvalidRequest, UnreadableRequest

_MAX_DEPTH = 20
_MAX_POINTER_LENGTH = 200


async def read_json(request: web.Request) -> dict[str, Any]:
    """Read a JSON object from the body of a request.

    Args:
        request: The request; the application limits the size of its body.

    Returns:
        The object. Its texts and numbers can be stored in PostgreSQL.

    Raises:
        UnreadableRequest: The body is not JSON.
        RequestTooLarge: The body is larger than the limit.
        InvalidRequest: The body is not an object, or contains a value that cannot be stored.
    """
    raw = await request.read()
    try:
        body = json.loads(raw, parse_constant=_reject_constant)
    except (ValueError, RecursionError) as error:
        raise UnreadableRequest(f"The body is not JSON: {str(error)[:200]}") from None
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.", errors=[("", "must be an object")])
    check_storable(body)
    return body


def check_storable(value: object, pointer: str = "", depth: int = 0) -> None:
    """Check that a JSON value has nothing that PostgreSQL cannot store.

    That is NUL, lone surrogates, infinite numbers, and nesting without a limit.

    Args:
        value: The value.
        pointer: The JSON pointer of the value (RFC 6901).
        depth: How deep it is nested.

    Raises:
        InvalidRequest: It cannot be stored; the error names the pointer.
    """
    if depth > _MAX_DEPTH:
        raise _make_error("The body is nested too deeply.", pointer, "more than 20 levels")
    if isinstance(value, str):
        if not is_storable_text(value):
            raise _make_error(
                "The body has characters that cannot be stored.", pointer, "is not clean text"
            )
    elif isinstance(value, float):
        if not math.isfinite(value):  # 1e999 is valid JSON, and infinity in Python
            raise _make_error("The body has a number that is too large.", pointer, "is too large")
    elif isinstance(value, dict):
        for key, item in value.items():
            check_storable(key, pointer, depth)
            check_storable(item, f"{pointer}/{key}", depth + 1)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            check_storable(item, f"{pointer}/{position}", depth + 1)


def is_storable_text(text: str) -> bool:
    """Return whether PostgreSQL can store the text: it has no NUL and no lone surrogate."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _make_error(detail: str, pointer: str, rule: str) -> InvalidRequest:
    return InvalidRequest(detail, errors=[(pointer[:_MAX_POINTER_LENGTH], rule)])


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
