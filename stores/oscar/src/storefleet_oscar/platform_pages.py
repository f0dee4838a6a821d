"""The pages below /storefleet/, which belong to the platform: health and mail outbox."""

import hmac
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from django.db import Error, close_old_connections

from storefleet_oscar import configuration
from storefleet_oscar.health import describe_health

PREFIX = "/storefleet/"
HEALTH_PATH = f"{PREFIX}health"
_MAIL_PATH = re.compile(r"/storefleet/mail(?:/([0-9]{1,18}))?")
_NUMBER = re.compile(r"[0-9]{1,18}")
LIMIT_DEFAULT, LIMIT_MAX = 20, 100

#: A status line and the JSON body.
Answer = tuple[str, dict[str, Any]]


def answer_request(environ: Mapping[str, Any]) -> Answer | None:
    """Answer a request of the platform; None for any other, and for one without the right key."""
    path = environ.get("PATH_INFO", "")
    if environ.get("REQUEST_METHOD") not in ("GET", "HEAD"):
        return None
    if path == HEALTH_PATH:
        return "200 OK", describe_health()
    match = _MAIL_PATH.fullmatch(path)
    if match is None or not _has_mail_key(environ):
        return None
    close_old_connections()
    try:
        return _answer_mail(match.group(1), environ.get("QUERY_STRING", ""))
    except Error:
        return "503 Service Unavailable", {"error": "The database of the store does not answer."}


def _has_mail_key(environ: Mapping[str, Any]) -> bool:
    """Compare the request's key with the store's in constant time."""
    key = configuration.load_store().read_mail_key()
    scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    same = hmac.compare_digest(given.encode("latin-1", "replace"), (key or "").encode())
    return same and bool(key) and scheme.lower() == "bearer"


def _answer_mail(mail_id: str | None, query: str) -> Answer:
    from storefleet_oscar import outbox

    if mail_id is not None:
        found = outbox.find_mail(int(mail_id))
        return ("200 OK", found) if found else ("404 Not Found", {"error": "No mail has this id."})
    values = {name: texts[-1] for name, texts in parse_qs(query, max_num_fields=10).items()}
    limit, before = values.get("limit", str(LIMIT_DEFAULT)), values.get("before")
    if not _NUMBER.fullmatch(limit) or not 1 <= int(limit) <= LIMIT_MAX:
        return "400 Bad Request", {"error": f"limit must be 1 to {LIMIT_MAX}."}
    if before is not None and not _NUMBER.fullmatch(before):
        return "400 Bad Request", {"error": "before must be the id of a mail."}
    return "200 OK", outbox.list_mails(limit=int(limit), before=int(before) if before else None)


def encode_answer(content: Mapping[str, Any]) -> bytes:
    """Encode a body as compact JSON in UTF-8, without escapes, as the platform expects it."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
