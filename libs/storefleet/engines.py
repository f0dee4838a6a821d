"""Kinds of shops: what `charts/<engine>/engine.yaml` says of each."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from pydantic import Field, PrivateAttr, StringConstraints, ValidationError, model_validator

from storefleet.errors import Invalid, StorefleetError
from storefleet.models import Model


class EngineError(StorefleetError):
    """A descriptor is broken; the text names file and rule."""


Amounts = dict[str, str | int | float]


class Version(Model):
    version: str
    notes: str = ""
    image: str = ""  # what a store of this version runs on Kubernetes


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


class Plan(Model):
    """How much a store on Kubernetes may take."""

    title: str
    quota: Amounts  # of everything that runs on
    jobs: Amounts  # of what comes to an end
    storage: Amounts
    limits: dict[str, Amounts]  # of a container: default, defaultRequest, max
    values: dict[str, Any] = Field(default_factory=dict)  # merged into the chart's


class Kubernetes(Model):
    """How the engine runs as a Helm release."""

    chart: Path = Path()
    secrets: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")], ...] = ()
    egress: Literal["none", "internet"] = "none"
    default_plan: str
    plans: dict[str, Plan] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.default_plan not in self.plans:
            raise ValueError(f"kubernetes.default_plan {self.default_plan} is none of kubernetes.plans")
        return self

    @property
    def plan(self) -> Plan:
        return self.plans[self.default_plan]


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
    kubernetes: Kubernetes | None = None
    folder: Path
    _validator: Draft202012Validator = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Made once: it costs more than what it checks."""
        del context
        self._validator = Draft202012Validator(self.parameters)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kubernetes and not all(version.image for version in self.versions):
            raise ValueError("every version needs an image, since there is a section kubernetes")
        return self

    def runs_on(self, runtime: str) -> bool:
        return {"local": self.local, "kubernetes": self.kubernetes}.get(runtime, self) is not None

    def image(self, version: str) -> str | None:
        return next((known.image for known in self.versions if known.version == version), None)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "summary": self.summary,
            "default_version": self.default_version,
            "versions": [version.model_dump(exclude={"image"}) for version in self.versions],
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
    """The catalogue, read once at start; `runtime` is where stores run, which not every engine can."""

    def __init__(self, engines: Iterable[Engine], *, runtime: str) -> None:
        self._engines = {engine.name: engine for engine in engines}
        self._runtime = runtime

    def __iter__(self) -> Iterator[Engine]:
        """Those that a new store can have."""
        return (engine for engine in self._engines.values() if engine.runs_on(self._runtime))

    def find(self, name: str) -> Engine | None:
        """Any that is known, for stores that are there already."""
        return self._engines.get(name)

    def get(self, name: str) -> Engine:
        """The engine for a new store; raises Invalid that lists what there is."""
        engine = self._engines.get(name)
        if engine and engine.runs_on(self._runtime):
            return engine
        known = f"must be one of: {', '.join(each.name for each in self) or 'none'}"
        if engine is None:
            raise Invalid("There is no such engine.", errors=[("/engine", known)])
        raise Invalid(
            f"The engine {name} does not run here: it knows nothing of the runtime “{self._runtime}”.",
            errors=[("/engine", known)],
        )


def load(folders: Iterable[Path], *, runtime: str = "simulated") -> Engines:
    """Read every `<folder>/<engine>/engine.yaml`; raises EngineError."""
    found = (_read(path) for folder in folders for path in sorted(folder.glob("*/engine.yaml")))
    return Engines(found, runtime=runtime)


def _read(path: Path) -> Engine:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        engine = Engine(folder=path.parent, **content)
        Draft202012Validator.check_schema(engine.parameters)
    except (OSError, yaml.YAMLError, TypeError, ValidationError, SchemaError) as error:
        raise EngineError(f"{path}: {error}") from None
    return engine
