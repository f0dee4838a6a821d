"""`--param key=value`: what the text means is the engine's schema's to say."""

import json
from collections.abc import Sequence
from typing import Any

from storefleet.cli.cli_errors import WrongUse
from storefleet.cli.client import Api

_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def read_parameters(api: Api, given: Sequence[str], engine: str | None) -> dict[str, Any]:
    """Parameters with their types; what fits none is sent as text, for the API to refuse."""
    schema = _schema(api.get("/engines")["data"], engine)
    return {key: _typed(text, schema.get(key)) for key, text in map(_split, given)}


def _split(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise WrongUse(
            f"“{text[:100]}” is not KEY=VALUE.", next_step="write --param title='My shop'"
        )
    return key.strip(), value


def _schema(engines: Sequence[dict[str, Any]], engine: str | None) -> dict[str, Any]:
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


def _typed(text: str, rule: Any) -> Any:
    kinds = rule.get("type") if isinstance(rule, dict) else None
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind == "string":
            return text
        if kind == "boolean" and text.lower() in _WORDS:
            return _WORDS[text.lower()]
        if kind in ("integer", "number", "array", "object", "null"):
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                continue
    return text
