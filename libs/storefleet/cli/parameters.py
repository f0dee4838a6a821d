"""Parse `--param KEY=VALUE` by the engine's JSON Schema.

The types come from the schema; the values are validated by the API, not here.
"""

import json
from collections.abc import Sequence
from typing import Any

from storefleet.cli.cli_errors import UsageError
from storefleet.cli.client import GatewayClient

_BOOLEAN_WORDS = {
    "true": True,
    "yes": True,
    "on": True,
    "false": False,
    "no": False,
    "off": False,
}


def parse_parameters(
    api: GatewayClient, assignments: Sequence[str], engine: str | None
) -> dict[str, Any]:
    """Convert assignments to the types of the engine's parameters.

    Args:
        api: The client that fetches the engines.
        assignments: Texts of the form `KEY=VALUE`.
        engine: The engine's name; None means the default engine.

    Returns:
        Values by key. A value that fits no type stays a string, so that the API rejects it.

    Raises:
        UsageError: A text is not of the form `KEY=VALUE`.
    """
    properties = _find_properties(api.get("/engines")["data"], engine)
    pairs = [_split_assignment(text) for text in assignments]
    return {key: _convert_value(text, properties.get(key)) for key, text in pairs}


def _split_assignment(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise UsageError(
            f"“{text[:100]}” is not of the form KEY=VALUE.",
            next_step="for example: --param title='Corner Goods'",
        )
    return key.strip(), value


def _find_properties(engines: Sequence[dict[str, Any]], engine: str | None) -> dict[str, Any]:
    """Return the schema's properties of the named engine, or of the default one."""
    matches = (
        known
        for known in engines
        if known["name"] == engine or (not engine and known.get("default"))
    )
    properties = (next(matches, {}).get("parameters") or {}).get("properties")
    return properties if isinstance(properties, dict) else {}


def _convert_value(text: str, schema: Any) -> Any:
    types = schema.get("type") if isinstance(schema, dict) else None
    names = types if isinstance(types, list) else [types]
    for name in names:
        if name == "string":
            return text
        if name == "boolean" and text.lower() in _BOOLEAN_WORDS:
            return _BOOLEAN_WORDS[text.lower()]
        if name in ("integer", "number", "array", "object", "null"):
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                continue
    return text
