"""Parameters: an engine's own choices for a store, described by a JSON Schema.

Two rules for text go beyond JSON Schema, and are the same for all engines: the format `title`, and
the characters that no text may have (`core/text_rules.py`).
"""

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker, ValidationError

from storefleet.core.errors import InvalidRequest
from storefleet.core.text_rules import find_line_problem, find_text_problem

#: A text of one line: at most 60 characters and 240 code points, at least one of them visible.
TITLE_FORMAT = "title"

_MAX_REPORTED_ERRORS = 20
_MAX_QUOTED_LENGTH = 200

_TYPE_NAMES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_RULE_TEXTS = {
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "format": "must have the format “{}”",
}
#: The pattern of titles in engines without the format. Other patterns are shown as they are.
_PATTERN_TEXTS = {r"^.*\S.*$": "must be one line of text and not blank"}
#: Rules that `title` contains; a title that breaks it has one error.
_RULES_WITHIN_FORMAT = ("minLength", "maxLength", "pattern")
_FORMATS = FormatChecker(formats=())


class _TextProblem(ValueError):
    """A text violates the rule of its format; the message is the end of a sentence about it."""


@_FORMATS.checks(TITLE_FORMAT, raises=_TextProblem)
def _check_title(value: object) -> bool:
    if isinstance(value, str) and (problem := find_line_problem(value)):
        raise _TextProblem(problem)
    return True


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
        self._validator = Draft202012Validator(schema, format_checker=_FORMATS)

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
        violations = _drop_repeated(self._validator.iter_errors(parameters))
        errors = [(_make_pointer(e.absolute_path), explain_violation(e)) for e in violations]
        reported = {pointer for pointer, _rule in errors}
        errors += [each for each in _find_text_problems(parameters) if each[0] not in reported]
        if errors:
            raise InvalidRequest(
                f"The parameters do not fit the engine {engine_title}.",
                errors=errors[:_MAX_REPORTED_ERRORS],
            )
        return self.add_defaults(parameters)

    def add_defaults(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Add the schema's defaults to parameters that were validated when the store was requested.

        Rules may have become stricter since then; existing stores keep what they have.
        """
        properties = self._schema.get("properties", {})
        defaults = {name: rule["default"] for name, rule in properties.items() if "default" in rule}
        return {**defaults, **parameters}


def _drop_repeated(violations: Iterable[ValidationError]) -> list[ValidationError]:
    """Sort violations by path, and keep that of a format alone where there is one."""
    found = sorted(violations, key=lambda error: list(map(str, error.absolute_path)))
    formats = [list(e.absolute_path) for e in found if isinstance(e.cause, _TextProblem)]
    return [
        error
        for error in found
        if error.validator not in _RULES_WITHIN_FORMAT or list(error.absolute_path) not in formats
    ]


def _find_text_problems(value: object, path: tuple[object, ...] = ()) -> Iterator[tuple[str, str]]:
    """Find the texts with characters that no parameter may have, whatever its schema allows."""
    if isinstance(value, str) and (problem := find_text_problem(value)):
        yield _make_pointer(path), problem
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _find_text_problems(item, (*path, name))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _find_text_problems(item, (*path, position))


def _make_pointer(path: Iterable[object]) -> str:
    return "/parameters" + "".join(f"/{part}" for part in path)


def explain_violation(error: ValidationError) -> str:
    """Explain a violated rule of a JSON Schema to a person.

    Args:
        error: What the validator found.

    Returns:
        The end of a sentence about the field, such as “must be at most 60”. A rule without a text
        here has the validator's own message. Content of the request is cut at 200 characters.
    """
    rule = str(error.validator)
    value: Any = error.validator_value
    schema: Any = error.schema
    instance: Any = error.instance
    match rule:
        case "enum":
            return explain_choices(
                [each if isinstance(each, str) else json.dumps(each) for each in value]
            )
        case "type":
            names = [value] if isinstance(value, str) else value
            text = f"must be {' or '.join(_TYPE_NAMES[name] for name in names)}"
        case "minLength" | "maxLength":
            bound = "least" if rule == "minLength" else "most"
            text = f"must have at {bound} {value} character{'' if value == 1 else 's'}"
        case "pattern":
            text = _PATTERN_TEXTS.get(value, f"must match the pattern {value}")
        case "format" if isinstance(error.cause, _TextProblem):
            text = str(error.cause)
        case "required":
            text = error.message.replace("a required property", "required")
        case "additionalProperties" if "patternProperties" not in schema:
            text = _explain_unknown(set(instance) - set(schema.get("properties", ())))
        case _:
            text = _RULE_TEXTS[rule].format(value) if rule in _RULE_TEXTS else error.message
    return text[:_MAX_QUOTED_LENGTH]


def _explain_unknown(parameters: Collection[str]) -> str:
    names = ", ".join(f"“{name}”" for name in sorted(parameters))
    is_one = len(parameters) == 1
    return f"{names} {'is not a known parameter' if is_one else 'are not known parameters'}"


def explain_choices(choices: Collection[str], *, if_none: str = "cannot be chosen") -> str:
    """Explain which values a field can have.

    Args:
        choices: The allowed values.
        if_none: The explanation when no value is allowed.

    Returns:
        The end of a sentence about the field, such as “must be one of: USD, EUR”.
    """
    return f"must be one of: {', '.join(choices)}" if choices else if_none
