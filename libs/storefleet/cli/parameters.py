"""`--param key=value`: what the text means is the engine's schema's to say."""

import json
from collections.abc import Sequence
from typing import Any

from storefleet.cli.cli_errors import UsageError
from storefleet.cli.client import GatewayClient

_BOOLEAN_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def parse_parameters(
    api: GatewayClient, assignments: Sequence[str], engine: str | None
) -> dict[str, Any]:
    """Parameters with their types; what fits none is sent as text, for the API to refuse."""
    schema = _find_properties(api.get("/engines")["data"], engine)
    return {
        key: _convert_value(text, schema.get(key))
        for key, text in map(_split_assignment, assignments)
    }


def _split_assignment(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise UsageError(
            f"“{text[:100]}” is not KEY=VALUE.", next_step="write --param title='My shop'"
        )
    return key.strip(), value


def _find_properties(engines: Sequence[dict[str, Any]], engine: str | None) -> dict[str, Any]:
    """The properties of the engine that is meant; without a name, the platform's default."""
    found = next(
        (
            known
            for known in engines
            if known["name"] == engine or (not engine and known.get("default"))
        ),
        None,
    )
    properties = ((found or {}).get("parameters") or {}).get("properties")
    return properties if isinstance(properties, dict) else {}


def _convert_value(text: str, schema: Any) -> Any:
    kinds = schema.get("type") if isinstance(schema, dict) else None
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind == "string":
            return text
        if kind == "boolean" and text.lower() in _BOOLEAN_WORDS:
            return _BOOLEAN_WORDS[text.lower()]
        if kind in ("integer", "number", "array", "object", "null"):
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                continue
    return text
