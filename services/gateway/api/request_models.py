"""Request bodies of the HTTP API as models.

A violated rule becomes an `InvalidRequest` with a pointer to the field and a sentence for people.
Path and query parameters are parsed in `services.gateway.request_parameters`.
"""

from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from storefleet.core.errors import InvalidRequest
from storefleet.core.models import Scope
from storefleet.core.text_rules import find_line_problem

_EMAIL_PATTERN = (
    r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])$"
)
_MAX_ERRORS = 20
_MAX_POINTER_PART_LENGTH = 80
_MAX_LABEL_LENGTH = 100
#: Pydantic's error types as predicates of the field; the placeholders are names in its context.
_RULE_TEXTS = {
    "missing": "is required",
    "extra_forbidden": "is not a known field",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "string_too_short": "must have at least {min_length} character(s)",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} item(s)",
    "too_long": "must have at most {max_length} items",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be one of: {expected}",
    "string_pattern_mismatch": "must be an e-mail address",  # the only field with a pattern
}


def _check_label(text: str) -> str:
    problem = find_line_problem(
        text, max_characters=_MAX_LABEL_LENGTH, max_code_points=_MAX_LABEL_LENGTH
    )
    if problem:
        raise PydanticCustomError("text_rule", "{rule}", {"rule": problem})
    return text


#: The name that a person gives to a token or a tenant. The length is counted in code points, as
#: the database does.
Label = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=_MAX_LABEL_LENGTH),
    AfterValidator(_check_label),
]


class RequestBody(BaseModel):
    """Base of all request bodies: unknown fields and implicit conversions are errors."""

    model_config = ConfigDict(extra="forbid", strict=True)


class CreateStoreBody(RequestBody):
    """Body of `POST /stores`; absent fields get the defaults of the platform or the engine."""

    name: str = Field(max_length=200)
    engine: str | None = Field(None, max_length=40)
    version: str | None = Field(None, min_length=1, max_length=60)
    plan: str | None = Field(None, min_length=1, max_length=60)
    parameters: dict[str, Any] = Field(default_factory=dict, max_length=50)


class UpgradeStoreBody(RequestBody):
    """Body of `POST /stores/{ref}/upgrade`."""

    version: str = Field(min_length=1, max_length=60)


class RollBackStoreBody(RequestBody):
    """Body of `POST /stores/{ref}/rollback`."""

    restore: bool = False
    discard_orders: bool = False


class CreateTenantBody(RequestBody):
    """Body of `POST /tenants`."""

    name: Label
    email: Annotated[str, StringConstraints(pattern=_EMAIL_PATTERN, max_length=254)]


class CreateTokenBody(RequestBody):
    """Body of `POST /tokens`; without `scopes` the token gets its creator's."""

    name: Label
    scopes: list[Scope] | None = Field(None, min_length=1, max_length=10)
    expires_in_days: int = Field(90, ge=1, le=366)


_BodyT = TypeVar("_BodyT", bound=RequestBody)


def parse_body(model: type[_BodyT], body: dict[str, Any]) -> _BodyT:
    """Validate a request body; raise InvalidRequest with a pointer for each violated rule."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        errors = [(_make_pointer(e), _describe_rule(e)) for e in error.errors()[:_MAX_ERRORS]]
        pointer, rule = errors[0]
        raise InvalidRequest(f"{pointer or 'The body'} {rule}.", errors=errors) from None


def _make_pointer(error: ErrorDetails) -> str:
    return "".join(f"/{part}"[:_MAX_POINTER_PART_LENGTH] for part in error["loc"])


def _describe_rule(error: ErrorDetails) -> str:
    text = _RULE_TEXTS.get(error["type"])
    return text.format(**error.get("ctx", {})) if text else error["msg"]
