"""JSON lines on standard output, each with the ids that lead from a click to this store; never a query or a secret."""

import json
import logging
import os
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

from gunicorn.glogging import Logger

#: Of the request that this thread works on.
request_id: ContextVar[str] = ContextVar("request_id", default="")

#: Path segments that open something by themselves: a password reset, a guest's order, an e-mail alert.
_KEYS_IN_PATHS = re.compile(
    r"^(/password-reset/confirm/[^/]+/|/accounts/order-status(?:-form)?/[^/]+/|/accounts/alerts/\w+/|/wishlists/)[^/]+"
)
_IDS = {
    name: value
    for name, variable in (("store_id", "STORE_ID"), ("operation_id", "STORE_OPERATION_ID"))
    if (value := os.environ.get(variable))
}


class JsonLines(logging.Formatter):
    """One record, one line; a traceback is a field of it."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC)
            .isoformat()
            .replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_IDS,
        }
        if request := request_id.get():
            line["request_id"] = request
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class AccessLog(Logger):  # type: ignore[misc]
    """gunicorn's door to our lines: its own messages, and one line per answered request."""

    def setup(self, cfg: Any) -> None:
        self.cfg = cfg
        self._access_log_enabled = True
        for log in (self.error_log, self.access_log):
            log.propagate = True
            log.setLevel(logging.INFO)

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:  # noqa: ARG002
        if "storefleet.probe" in environ:
            return  # one a second, for as long as the shop runs
        fields = {
            "method": environ.get("REQUEST_METHOD", ""),
            "path": public_path(environ.get("PATH_INFO", "")),
            "status": resp.status_code,
            "bytes": resp.sent,
            "duration_ms": round(request_time.total_seconds() * 1000, 1),
            "request_id": environ.get("storefleet.request_id", ""),
        }
        self.access_log.info("request", extra={"fields": fields})


def public_path(path: str) -> str:
    """The path without keys in it, and not longer than a line should be."""
    return _KEYS_IN_PATHS.sub(r"\1(hidden)", path[:500])


def configure() -> None:
    """Send everybody's records through our lines; to be called before Django is set up."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.captureWarnings(True)
    # The access log tells of refused and missing pages already; what is left here are failures of our own.
    logging.getLogger("django.request").setLevel(logging.ERROR)
    logging.getLogger("django.security.DisallowedHost").setLevel(logging.CRITICAL)


def adopt(name: str) -> None:
    """Take away the handlers that a library gave its logger, so that its records are ours too."""
    logging.getLogger(name).handlers.clear()
