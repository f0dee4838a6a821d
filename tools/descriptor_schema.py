"""Write the JSON Schema of `engine.yaml` into docs/engine.schema.json.

The schema is generated from the model of the descriptor; a unit test fails when the file is another
one.

usage: python -m tools.descriptor_schema
"""

import json
from pathlib import Path
from typing import Any

from storefleet.engines.descriptor import Engine

SCHEMA_FILE = Path(__file__).resolve().parents[1] / "docs" / "engine.schema.json"
#: Fields of the model that the platform sets.
_OWN_FIELDS = ("folder", "has_choices")


def make_schema() -> dict[str, Any]:
    """Make the schema of a descriptor."""
    schema = Engine.model_json_schema()
    for name in _OWN_FIELDS:
        del schema["properties"][name]
    required = [name for name in schema["required"] if name not in _OWN_FIELDS]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "engine.yaml",
        "description": "Descriptor of an engine; docs/engines.md explains it.",
        "required": required,
    }


def format_schema() -> str:
    """Format the schema as the file contains it."""
    return json.dumps(make_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(format_schema(), encoding="utf-8")
