"""Kinds of shops: what `charts/<engine>/engine.yaml` says of each."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from pydantic import (
    Field,
    PrivateAttr,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from storefleet.core.errors import InvalidRequest, StorefleetError
from storefleet.core.models import FrozenModel


class EngineDescriptorError(StorefleetError):
    """A descriptor is broken; the text names file and rule."""


ResourceAmounts = dict[str, str | int | float]
_PREFERRED_ENGINES = ("woocommerce", "oscar")


class EngineVersion(FrozenModel):
    version: str
    notes: str = ""
    image: str = ""  # what a store of this version runs on Kubernetes
    chart: Path | None = None  # the version's own, where kubernetes.chart does not fit it


class CheckedPage(FrozenModel):
    """A page that proves something: `path`, and a text that it has to show."""

    path: str
    expect: str


class AdminPage(FrozenModel):
    path: str
    sign_in_path: str
    expect: str
    username: str


class LocalProcess(FrozenModel):
    """How the engine runs as plain processes."""

    source: Path
    requirements: Path | None = None
    build_requirements: Path | None = (
        None  # what packages without a wheel are built with; locked like the rest
    )
    template: tuple[str, ...] = Field(min_length=1)
    serve: tuple[str, ...] = Field(min_length=1)


class EnginePlan(FrozenModel):
    """How much a store on Kubernetes may take."""

    title: str
    quota: ResourceAmounts  # of everything that runs on
    jobs: ResourceAmounts  # of what comes to an end
    storage: ResourceAmounts
    limits: dict[str, ResourceAmounts]  # of a container: default, defaultRequest, max
    values: dict[str, Any] = Field(default_factory=dict)  # merged into the chart's

    @property
    def summary(self) -> dict[str, str]:
        """What a person chooses by."""
        return {
            "cpu": str(self.quota.get("limits.cpu", "")),
            "memory": str(self.quota.get("limits.memory", "")),
            "storage": str(self.storage.get("requests.storage", "")),
        }


class CronSchedule(FrozenModel):
    """A page that every ready store is asked for, so that it does what it does by time."""

    path: str = Field(pattern=r"^/")
    every: int = Field(60, ge=1, le=86_400)  # seconds


class KubernetesRelease(FrozenModel):
    """How the engine runs as a Helm release."""

    chart: Path = Path()
    secrets: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")], ...] = ()
    egress: Literal["none", "internet"] = "none"
    cron: CronSchedule | None = None
    default_plan: str
    plans: dict[str, EnginePlan] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_default_plan(self) -> Self:
        if self.default_plan not in self.plans:
            raise ValueError(
                f"kubernetes.default_plan {self.default_plan} is none of kubernetes.plans"
            )
        return self

    @property
    def plan(self) -> EnginePlan:
        return self.plans[self.default_plan]


class Engine(FrozenModel):
    name: str = Field(pattern=r"^[a-z][a-z0-9-]{1,30}$")
    title: str
    summary: str = ""
    default_version: str = ""  # empty: the first
    versions: tuple[EngineVersion, ...] = ()
    parameters: dict[str, Any]
    storefront: CheckedPage
    admin: AdminPage
    checks: tuple[CheckedPage, ...] = ()  # what has to answer, too, before a store is ready
    local: LocalProcess | None = None
    kubernetes: KubernetesRelease | None = None
    folder: Path
    planned: bool = True  # whether plans count where stores run
    _validator: Draft202012Validator = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Made once: it costs more than what it checks."""
        del context
        self._validator = Draft202012Validator(self.parameters)
        if not self.default_version and self.versions:
            object.__setattr__(self, "default_version", self.versions[0].version)

    @model_validator(mode="after")
    def _check_versions(self) -> Self:
        if self.kubernetes and not all(version.image for version in self.versions):
            raise ValueError("every version needs an image, since there is a section kubernetes")
        names = [version.version for version in self.versions]
        if len(set(names)) < len(names):
            raise ValueError("a version is named twice in versions")
        if self.default_version and names and self.default_version not in names:
            raise ValueError(f"default_version {self.default_version} is none of versions")
        return self

    def runs_on(self, runtime: str) -> bool:
        return {"local": self.local, "kubernetes": self.kubernetes}.get(runtime, self) is not None

    def find_version(self, version: str) -> EngineVersion | None:
        return next((known for known in self.versions if known.version == version), None)

    def get_image(self, version: str) -> str | None:
        known = self.find_version(version)
        return known.image if known else None

    def get_chart_path(self, version: str) -> Path:
        """The folder of the chart that a store of this version is made from; only where it runs on Kubernetes."""
        known = self.find_version(version)
        own = known.chart if known else None
        return (
            self.folder / (own or (self.kubernetes.chart if self.kubernetes else Path()))
        ).resolve()

    @property
    def plans(self) -> dict[str, EnginePlan]:
        """Those that a new store can have; none where nothing limits stores."""
        return self.kubernetes.plans if self.kubernetes and self.planned else {}

    @property
    def default_plan(self) -> str:
        return self.kubernetes.default_plan if self.kubernetes and self.planned else ""

    def get_plan(self, name: str) -> EnginePlan | None:
        """The plan of a store; the default one for a store that has none, or one that is not there any more."""
        return self.plans.get(name) or self.plans.get(self.default_plan)

    def choose_version(self, version: str | None) -> str:
        """The version of a new store, or of one that is upgraded; raises Invalid that lists what there is."""
        if version is None:
            return self.default_version
        return _check_choice(
            version, [known.version for known in self.versions], what="version", where=self.title
        )

    def choose_plan(self, plan: str | None) -> str:
        """The plan of a new store; raises Invalid that lists what there is."""
        if plan is None:
            return self.default_plan
        return _check_choice(plan, list(self.plans), what="plan", where=self.title)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "summary": self.summary,
            "default_version": self.default_version,
            "versions": [
                version.model_dump(exclude={"image", "chart"}) for version in self.versions
            ],
            "plans": [
                {
                    "name": name,
                    "title": plan.title,
                    "default": name == self.default_plan,
                    "summary": plan.summary,
                }
                for name, plan in self.plans.items()
            ],
            "parameters": self.parameters,
        }

    def complete_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters with the schema's defaults filled in; raises Invalid with a pointer per broken rule."""
        errors = sorted(self._validator.iter_errors(parameters), key=lambda e: list(e.path))
        if errors:
            raise InvalidRequest(
                f"The parameters do not fit what {self.title} takes.",
                errors=[
                    ("/parameters" + "".join(f"/{part}" for part in e.path), e.message[:200])
                    for e in errors[:20]
                ],
            )
        properties = self.parameters.get("properties", {})
        defaults = {name: rule["default"] for name, rule in properties.items() if "default" in rule}
        return {**defaults, **parameters}


class EngineCatalogue:
    """The catalogue, read once at start; `runtime` is where stores run, which not every engine can.

    `unbuilt` names engines that are known, but of which nothing was built to run.
    """

    def __init__(
        self, engines: Iterable[Engine], *, runtime: str, unbuilt: Collection[str] = ()
    ) -> None:
        self._engines = {engine.name: engine for engine in engines}
        self._runtime = runtime
        self._unbuilt = frozenset(unbuilt)

    def __iter__(self) -> Iterator[Engine]:
        """Those that a new store can have."""
        return (
            engine for engine in self._engines.values() if self._explain_unavailable(engine) is None
        )

    def list_known(self) -> Iterator[Engine]:
        """All of them, also those that a new store cannot have."""
        return iter(self._engines.values())

    def find(self, name: str) -> Engine | None:
        """Any that is known, for stores that are there already."""
        return self._engines.get(name)

    def get_default_name(self, configured: str) -> str:
        """The engine of a store that names none: as configured, else the best known of those that are offered."""
        offered = [engine.name for engine in self]
        return configured or next(
            (name for name in (*_PREFERRED_ENGINES, *offered) if name in offered), ""
        )

    def get_offered(self, name: str) -> Engine:
        """The engine for a new store; raises Invalid that lists what there is."""
        known = f"must be one of: {', '.join(each.name for each in self) or 'none'}"
        engine = self._engines.get(name)
        if engine is None:
            raise InvalidRequest(
                "There is no such engine." if name else "No engine is offered.",
                errors=[("/engine", known)],
            )
        if reason := self._explain_unavailable(engine):
            raise InvalidRequest(f"The engine {name} {reason}.", errors=[("/engine", known)])
        return engine

    def _explain_unavailable(self, engine: Engine) -> str | None:
        """Why a new store cannot have it."""
        if not engine.runs_on(self._runtime):
            return f"does not run here: it knows nothing of the runtime “{self._runtime}”"
        if engine.name in self._unbuilt:
            return "is not offered: its image was not built, see tools/build-images"
        return None if engine.versions else "is not offered: there is no version of it"


def load_engines(
    descriptor_folders: Iterable[Path],
    *,
    runtime: str = "simulated",
    catalogue_file: Path | None = None,
) -> EngineCatalogue:
    """Read every `<folder>/<engine>/engine.yaml`, and add the versions of the catalogue; raises EngineError."""
    built = _read_catalogue_file(catalogue_file) if catalogue_file else {}
    paths = [path for folder in descriptor_folders for path in sorted(folder.glob("*/engine.yaml"))]
    found = [_read_descriptor(path, built, local=runtime == "local") for path in paths]
    unbuilt = (
        {engine.name for engine in found} - built.keys()
        if catalogue_file and runtime == "kubernetes"
        else ()
    )
    return EngineCatalogue(found, runtime=runtime, unbuilt=unbuilt)


def _read_descriptor(path: Path, built: Mapping[str, "BuiltEngine"], *, local: bool) -> Engine:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if entry := built.get(content["name"]):
            content = {**content, **_merge_versions(content, entry)}
        engine = Engine(**{**content, "folder": path.parent, "planned": not local})
        if local:  # whose stores share the one environment that is installed
            only = [
                version for version in engine.versions if version.version == engine.default_version
            ]
            engine = engine.model_copy(update={"versions": tuple(only)})
        Draft202012Validator.check_schema(engine.parameters)
    except (OSError, yaml.YAMLError, TypeError, KeyError, ValidationError, SchemaError) as error:
        raise EngineDescriptorError(f"{path}: {error}") from None
    return engine


class BuiltEngine(FrozenModel):
    """What the catalogue says of an engine: the versions whose images were built."""

    default_version: str = ""
    versions: tuple[EngineVersion, ...] = ()


def _read_catalogue_file(path: Path) -> dict[str, BuiltEngine]:
    try:
        return _CATALOGUE_FILE.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise EngineDescriptorError(f"{path}: {error}") from None


def _merge_versions(content: dict[str, Any], built: BuiltEngine) -> dict[str, Any]:
    """The descriptor's versions and, in place of those of the same name or after them, the catalogue's."""
    versions = {each["version"]: each for each in content.get("versions") or ()}
    versions.update({each.version: each.model_dump() for each in built.versions})
    default = built.default_version or content.get("default_version") or ""
    return {"versions": list(versions.values()), "default_version": default}


def _check_choice(name: str, known: Sequence[str], *, what: str, where: str) -> str:
    if name in known:
        return name
    must = f"must be one of: {', '.join(known) or 'none'}"
    raise InvalidRequest(f"{where} has no {what} “{name[:60]}” here.", errors=[(f"/{what}", must)])


_CATALOGUE_FILE = TypeAdapter(dict[str, BuiltEngine])
