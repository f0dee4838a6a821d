"""Kinds of shops: what `charts/<engine>/engine.yaml` says of each."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from pydantic import Field, PrivateAttr, ValidationError

from storefleet.errors import Invalid, StorefleetError
from storefleet.models import Model


class EngineError(StorefleetError):
    """A descriptor is broken; the text names file and rule."""


class Version(Model):
    version: str
    notes: str = ""


class Page(Model):
    """A page that proves something: `path`, and a text that it has to show."""

    path: str
    expect: str


class Admin(Model):
    path: str
    sign_in_path: str
    expect: str
    username: str


class Local(Model):
    """How the engine runs as plain processes."""

    source: Path
    requirements: Path | None = None
    build_requirements: Path | None = None  # what packages without a wheel are built with; locked like the rest
    template: tuple[str, ...] = Field(min_length=1)
    serve: tuple[str, ...] = Field(min_length=1)


class Engine(Model):
    name: str = Field(pattern=r"^[a-z][a-z0-9-]{1,30}$")
    title: str
    summary: str = ""
    default_version: str
    versions: tuple[Version, ...] = Field(min_length=1)
    parameters: dict[str, Any]
    storefront: Page
    admin: Admin
    local: Local | None = None
    folder: Path
    _validator: Draft202012Validator = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Made once: it costs more than what it checks."""
        del context
        self._validator = Draft202012Validator(self.parameters)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "summary": self.summary,
            "default_version": self.default_version,
            "versions": [version.model_dump() for version in self.versions],
            "parameters": self.parameters,
        }

    def complete(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters with the schema's defaults filled in; raises Invalid with a pointer per broken rule."""
        errors = sorted(self._validator.iter_errors(parameters), key=lambda e: list(e.path))
        if errors:
            raise Invalid(
                f"The parameters do not fit what {self.title} takes.",
                errors=[("/parameters" + "".join(f"/{part}" for part in e.path), e.message[:200]) for e in errors[:20]],
            )
        properties = self.parameters.get("properties", {})
        defaults = {name: rule["default"] for name, rule in properties.items() if "default" in rule}
        return {**defaults, **parameters}


class Engines:
    """The catalogue, read once at start."""

    def __init__(self, engines: Iterable[Engine]) -> None:
        self._engines = {engine.name: engine for engine in engines}

    def __iter__(self) -> Any:
        return iter(self._engines.values())

    def find(self, name: str) -> Engine | None:
        return self._engines.get(name)

    def get(self, name: str) -> Engine:
        """The engine of that name; raises Invalid that lists what there is."""
        engine = self._engines.get(name)
        if engine is None:
            known = ", ".join(self._engines) or "none"
            raise Invalid("There is no such engine.", errors=[("/engine", f"must be one of: {known}")])
        return engine


def load(folders: Iterable[Path]) -> Engines:
    """Read every `<folder>/<engine>/engine.yaml`; raises EngineError."""
    return Engines(_read(path) for folder in folders for path in sorted(folder.glob("*/engine.yaml")))


def _read(path: Path) -> Engine:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        engine = Engine(folder=path.parent, **content)
        Draft202012Validator.check_schema(engine.parameters)
    except (OSError, yaml.YAMLError, TypeError, ValidationError, SchemaError) as error:
        raise EngineError(f"{path}: {error}") from None
    return engine
