"""The store as a WSGI application: probes, request ids and a limit on request bodies."""

import re
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from django.core.handlers.wsgi import WSGIHandler

from storefleet_oscar.health import PROBES
from storefleet_oscar.logs import request_id

#: Large enough for a product picture, too small to fill the disk through a form.
BODY_SIZE_MAX_BYTES = 16 * 1024 * 1024
_VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,80}")


class StoreApplication:
    """Answers probes itself and passes every other request to Django."""

    def __init__(self) -> None:
        self._django = WSGIHandler()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer a request as PEP 3333 defines it."""
        if (probe := PROBES.get(environ.get("PATH_INFO", ""))) is not None:
            environ["storefleet.probe"] = True
            return _answer_probe(probe(), start_response)
        given = environ.get("HTTP_X_REQUEST_ID", "")
        identifier = given if _VALID_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        environ["storefleet.request_id"] = identifier
        request_id.set(identifier)

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, [*headers, ("X-Request-Id", identifier)], *more)

        if _get_content_length(environ) > BODY_SIZE_MAX_BYTES:
            start(
                "413 Content Too Large", [("Content-Type", "text/plain"), ("Connection", "close")]
            )
            return [b"The request is too large.\n"]
        body: Iterable[bytes] = self._django(environ, start)
        return body


def _answer_probe(problem: str | None, start_response: Callable[..., Any]) -> list[bytes]:
    """Answer in plain text, without Django: a kubelet does not send the store's host name."""
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")]
    start_response("503 Service Unavailable" if problem else "200 OK", headers)
    return [f"{problem or 'ok'}\n".encode()]


def _get_content_length(environ: dict[str, Any]) -> int:
    text = environ.get("CONTENT_LENGTH") or "0"
    return int(text) if text.isascii() and text.isdigit() else 0
