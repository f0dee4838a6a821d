"""What callers send: bodies as models, query parameters as checked values; a broken rule names its place."""

import re
from typing import Annotated, Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from storefleet.core.errors import InvalidRequest, NotFound
from storefleet.core.identifiers import STORE_PREFIX, is_id
from storefleet.core.models import Scope
from storefleet.http.app import is_storable_text

_EMAIL_PATTERN = (
    r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])$"
)
_STORE_NAME_PATTERN = re.compile(r"[a-z0-9-]{1,63}")


class RequestBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class CreateStoreBody(RequestBody):
    name: str = Field(max_length=200)
    engine: str | None = Field(None, max_length=40)
    version: str | None = Field(None, min_length=1, max_length=60)
    plan: str | None = Field(None, min_length=1, max_length=60)
    parameters: dict[str, Any] = Field(default_factory=dict, max_length=50)


class UpgradeStoreBody(RequestBody):
    version: str = Field(min_length=1, max_length=60)


class RollBackStoreBody(RequestBody):
    restore: bool = False
    discard_orders: bool = False


class CreateTenantBody(RequestBody):
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
    email: Annotated[str, StringConstraints(pattern=_EMAIL_PATTERN, max_length=254)]


class CreateTokenBody(RequestBody):
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
    scopes: list[Scope] | None = Field(None, min_length=1, max_length=10)
    expires_in_days: int = Field(90, ge=1, le=366)


_BodyT = TypeVar("_BodyT", bound=RequestBody)


def parse_body(model: type[_BodyT], body: dict[str, Any]) -> _BodyT:
    """The body as a model; raises Invalid with a pointer per broken rule."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        errors = [
            ("".join(f"/{part}"[:80] for part in e["loc"]), e["msg"]) for e in error.errors()[:20]
        ]
        first = f"{errors[0][0] or 'The body'}: {errors[0][1]}."
        raise InvalidRequest(first, errors=errors) from None


def parse_number(request: web.Request, name: str, default: int, minimum: int, maximum: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (
        text.isascii() and text.isdigit() and len(text) <= 9 and minimum <= int(text) <= maximum
    ):
        raise InvalidRequest(
            f"“{name}” must be a number from {minimum} to {maximum}.",
            errors=[(f"/{name}", f"{minimum} to {maximum}")],
        )
    return int(text)


def parse_text(
    request: web.Request, name: str, allowed: tuple[str, ...] | None = None
) -> str | None:
    """A query parameter, one of `allowed` or any short clean text; None when it is absent or empty."""
    text = request.query.get(name, "")
    if not text:
        return None
    if allowed is not None and text not in allowed:
        raise InvalidRequest(
            f"“{name}” must be one of: {', '.join(allowed)}.", errors=[(f"/{name}", "is not known")]
        )
    if len(text) > 100 or not is_storable_text(text):
        raise InvalidRequest(
            f"“{name}” must be text of at most 100 characters.",
            errors=[(f"/{name}", "is not allowed")],
        )
    return text


def parse_id(request: web.Request, name: str, prefix: str) -> str | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not is_id(text, prefix):
        raise InvalidRequest(
            f"“{name}” must be an id ({prefix}_…).", errors=[(f"/{name}", "is not an id")]
        )
    return text


def get_store_ref(request: web.Request) -> str:
    """The id or name in the path; what can be neither is not found."""
    ref = request.match_info["ref"]
    if not (is_id(ref, STORE_PREFIX) or _STORE_NAME_PATTERN.fullmatch(ref)):
        raise NotFound("There is no such store.")
    return ref


def get_path_id(request: web.Request, prefix: str) -> str:
    """The id in the path; what cannot be one is not found."""
    text = request.match_info["id"]
    if not is_id(text, prefix):
        raise NotFound("There is no such thing.")
    return text
