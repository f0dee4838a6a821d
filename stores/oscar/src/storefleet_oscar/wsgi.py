"""The shop as a WSGI application, each request with an id and none with a boundless body."""

import re
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from django.core.handlers.wsgi import WSGIHandler

from storefleet_oscar.health import PROBES
from storefleet_oscar.logs import request_id

#: A product picture fits; nobody fills the disk through a form.
BODY_LIMIT = 16 * 1024 * 1024
_GOOD_ID = re.compile(r"[A-Za-z0-9._:-]{1,80}")


class Shop:
    def __init__(self) -> None:
        self._django = WSGIHandler()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if (probe := PROBES.get(environ.get("PATH_INFO", ""))) is not None:
            environ["storefleet.probe"] = True
            return _answer(probe(), start_response)
        given = environ.get("HTTP_X_REQUEST_ID", "")
        identifier = given if _GOOD_ID.fullmatch(given) else uuid.uuid4().hex
        environ["storefleet.request_id"] = identifier
        request_id.set(identifier)

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, [*headers, ("X-Request-Id", identifier)], *more)

        if _length(environ) > BODY_LIMIT:
            start(
                "413 Content Too Large", [("Content-Type", "text/plain"), ("Connection", "close")]
            )
            return [b"The request is too large.\n"]
        body: Iterable[bytes] = self._django(environ, start)
        return body


def _answer(problem: str | None, start_response: Callable[..., Any]) -> list[bytes]:
    """Plain text, for a kubelet; it does not know the shop's host name, so Django is not asked."""
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")]
    start_response("503 Service Unavailable" if problem else "200 OK", headers)
    return [f"{problem or 'ok'}\n".encode()]


def _length(environ: dict[str, Any]) -> int:
    text = environ.get("CONTENT_LENGTH") or "0"
    return int(text) if text.isascii() and text.isdigit() else 0
