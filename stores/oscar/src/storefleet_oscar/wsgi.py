"""The store as a WSGI application: probes, the platform's pages, request ids, a limit on bodies."""

import re
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.template.loader import render_to_string

from storefleet_oscar import configuration, platform_pages
from storefleet_oscar.health import PROBES
from storefleet_oscar.logs import request_id

#: What a form adds to the files in it.
FORM_SIZE_BYTES = 1024 * 1024
#: How much of a body that is too large is read and discarded. A browser shows the answer only
#: after it has sent the body.
DISCARDED_MAX_BYTES = 128 * 1024 * 1024
_VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,80}")


class StoreApplication:
    """Answers probes itself and passes every other request to Django."""

    def __init__(self) -> None:
        self._django = WSGIHandler()
        self._upload_max_bytes = configuration.load_store().upload_max_bytes

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer a request as PEP 3333 defines it."""
        if (probe := PROBES.get(environ.get("PATH_INFO", ""))) is not None:
            environ["storefleet.probe"] = True
            return _answer_probe(probe(), start_response)
        if (answer := platform_pages.answer_request(environ)) is not None:
            return _answer_platform(environ, *answer, start_response)
        if environ.get("PATH_INFO", "").startswith(platform_pages.PREFIX):
            environ["HTTP_HOST"] = configuration.load_store().host  # the usual 404 under any name
        given = environ.get("HTTP_X_REQUEST_ID", "")
        identifier = given if _VALID_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        environ["storefleet.request_id"] = identifier
        request_id.set(identifier)

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, [*headers, ("X-Request-Id", identifier)], *more)

        if (size := _get_content_length(environ)) > self._upload_max_bytes + FORM_SIZE_BYTES:
            return self._refuse_body(environ, size, start)
        body: Iterable[bytes] = self._django(environ, start)
        return body

    def _refuse_body(
        self, environ: dict[str, Any], size: int, start: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Discard the body and answer with a page that names the limit."""
        left = min(size, DISCARDED_MAX_BYTES)
        while left > 0 and (part := environ["wsgi.input"].read(min(left, 1 << 16))):
            left -= len(part)
        content = {"shop_name": settings.OSCAR_SHOP_NAME, "limit": self._upload_max_bytes}
        start(
            "413 Content Too Large",
            [("Content-Type", "text/html; charset=utf-8"), ("Connection", "close")],
        )
        return [render_to_string("storefleet/too_large.html", content).encode()]


def _answer_platform(
    environ: dict[str, Any],
    status: str,
    content: dict[str, Any],
    start_response: Callable[..., Any],
) -> list[bytes]:
    """Answer the platform in JSON, without Django: it sends no host name of the store."""
    environ["storefleet.probe"] = True
    body = platform_pages.encode_answer(content)
    headers = [
        ("Content-Type", "application/json"),
        ("Cache-Control", "no-store"),
        ("Content-Length", str(len(body))),
    ]
    start_response(status, headers)
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]


def _answer_probe(problem: str | None, start_response: Callable[..., Any]) -> list[bytes]:
    """Answer in plain text, without Django: a kubelet does not send the store's host name."""
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")]
    start_response("503 Service Unavailable" if problem else "200 OK", headers)
    return [f"{problem or 'ok'}\n".encode()]


def _get_content_length(environ: dict[str, Any]) -> int:
    text = environ.get("CONTENT_LENGTH") or "0"
    return int(text) if text.isascii() and text.isdigit() else 0
