"""JSON log lines on standard output, with the ids that connect a request to this store.

No line contains a query string or a secret.
"""

import json
import logging
import os
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

from gunicorn.glogging import Logger

#: Id of the request that this thread is answering.
request_id: ContextVar[str] = ContextVar("request_id", default="")

#: Path segments that grant access by themselves: password resets, guests' orders, e-mail alerts.
_KEYS_IN_PATHS = re.compile(
    r"^(/password-reset/confirm/[^/]+/|/accounts/order-status(?:-form)?/[^/]+/"
    r"|/accounts/alerts/\w+/|/wishlists/)[^/]+"
)
_IDS = {
    name: value
    for name, variable in (("store_id", "STORE_ID"), ("operation_id", "STORE_OPERATION_ID"))
    if (value := os.environ.get(variable))
}


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON, with a traceback as a field."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
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


class GunicornLogger(Logger):  # type: ignore[misc]
    """Sends gunicorn's messages through the root logger, with one line per answered request."""

    def setup(self, cfg: Any) -> None:
        """Configure gunicorn's loggers; gunicorn calls it."""
        self.cfg = cfg
        self._access_log_enabled = True
        for log in (self.error_log, self.access_log):
            log.propagate = True
            log.setLevel(logging.INFO)

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:  # noqa: ARG002
        """Log a request; gunicorn calls it after every response."""
        if "storefleet.probe" in environ:
            return  # several per minute for the lifetime of the store
        fields = {
            "method": environ.get("REQUEST_METHOD", ""),
            "path": redact_path(environ.get("PATH_INFO", "")),
            "status": resp.status_code,
            "bytes": resp.sent,
            "duration_ms": round(request_time.total_seconds() * 1000, 1),
            "request_id": environ.get("storefleet.request_id", ""),
        }
        self.access_log.info("request", extra={"fields": fields})


def redact_path(path: str) -> str:
    """Replace keys in a request path and cut it to 500 characters."""
    return _KEYS_IN_PATHS.sub(r"\1(hidden)", path[:500])


def configure_logging() -> None:
    """Format the records of all loggers as JSON lines; call it before Django is set up."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.captureWarnings(True)
    # The access log already shows rejected and missing pages; only errors of our own remain.
    logging.getLogger("django.request").setLevel(logging.ERROR)
    logging.getLogger("django.security.DisallowedHost").setLevel(logging.CRITICAL)


def remove_handlers(name: str) -> None:
    """Remove the handlers that a library gave its logger, so that its records become JSON lines."""
    logging.getLogger(name).handlers.clear()
