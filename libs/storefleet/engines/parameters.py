"""Parameters: an engine's own choices for a store, described by a JSON Schema."""

from typing import Any

from jsonschema import Draft202012Validator

from storefleet.core.errors import InvalidRequest

_MAX_REPORTED_ERRORS = 20
_MAX_MESSAGE_LENGTH = 200


class ParameterSchema:
    """Validates parameters and fills in their defaults.

    The validator is created once per engine, because that takes longer than a validation.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        """Create the validator.

        Args:
            schema: A JSON Schema (draft 2020-12) of type `object`.
        """
        self._schema = schema
        self._validator = Draft202012Validator(schema)

    def complete(self, parameters: dict[str, Any], *, engine_title: str) -> dict[str, Any]:
        """Validate parameters and add the schema's defaults.

        Args:
            parameters: What the request contains.
            engine_title: The engine's name for people, for the error's text.

        Returns:
            The parameters, with a value for each property that has a default.

        Raises:
            InvalidRequest: With one JSON pointer per violated rule, 20 at most.
        """
        errors = sorted(self._validator.iter_errors(parameters), key=lambda e: list(e.path))
        if errors:
            raise InvalidRequest(
                f"The parameters do not fit the engine {engine_title}.",
                errors=[
                    (
                        "/parameters" + "".join(f"/{part}" for part in error.path),
                        error.message[:_MAX_MESSAGE_LENGTH],
                    )
                    for error in errors[:_MAX_REPORTED_ERRORS]
                ],
            )
        properties = self._schema.get("properties", {})
        defaults = {name: rule["default"] for name, rule in properties.items() if "default" in rule}
        return {**defaults, **parameters}
