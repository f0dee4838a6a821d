"""Structured logs: JSON lines on standard output, with ids from context variables."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

_SECRET_KEY_PARTS = ("password", "secret", "authorization", "cookie", "credential")


def configure_logging(service: str, level: str, stream: TextIO | None = None) -> None:
    """Write the logs of the platform and of its libraries as JSON lines.

    Args:
        service: The name of the service, which every line contains.
        level: The lowest level that is logged: `debug`, `info`, `warning` or `error`. Libraries
            log at `info` or above.
        stream: Where to write; standard output by default.
    """
    output = stream or sys.stdout
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _hide_secrets,
    ]
    structlog.configure(
        processors=[
            *shared,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(output),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(ensure_ascii=True),
            ],
        )
    )
    logging.basicConfig(
        handlers=[handler],
        level=max(logging.INFO, logging.getLevelNamesMapping()[level.upper()]),
        force=True,
    )
    structlog.contextvars.bind_contextvars(service=service)


def get_logger(name: str) -> Any:
    """Return a logger that adds `module` and the ids of `bind_log_context` to every line."""
    return structlog.get_logger(module=name)


def bind_log_context(**ids: str | None) -> None:
    """Add ids to every later log line of this asyncio task; None values are left out."""
    structlog.contextvars.bind_contextvars(
        **{key: value for key, value in ids.items() if value is not None}
    )


def _hide_secrets(
    _logger: Any, _method: str, line: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key in line:
        if any(word in key.lower() for word in _SECRET_KEY_PARTS):
            line[key] = "(hidden)"
    return line
