"""Model of an engine's descriptor, `charts/<engine>/engine.yaml`.

docs/engines.md documents the format. The catalogue reads the files; this module validates
their content and looks up versions, plans and charts of one engine.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, StringConstraints, model_validator

from storefleet.core.errors import InvalidRequest, StorefleetError
from storefleet.core.models import FrozenModel
from storefleet.engines.parameters import ParameterSchema, explain_choices
from storefleet.engines.plans import EnginePlan
from storefleet.engines.store_pages import (
    AdminPage,
    MailPage,
    StoreChecks,
    StorefrontPage,
    read_earlier_format,
)

#: The generated secret that opens a store's mail outbox, as `kubernetes.secrets` names it.
MAIL_KEY = "mail-key"


class EngineDescriptorError(StorefleetError):
    """A descriptor or the catalogue file is invalid; the text names the file and the rule."""


class EngineVersion(FrozenModel):
    """A version that stores of the engine can have.

    Attributes:
        version: Its name.
        notes: What is new, for people.
        image: The container image of its stores on Kubernetes.
        chart: Its own chart, if `kubernetes.chart` does not fit; relative to the descriptor.
    """

    version: str
    notes: str = ""
    image: str = ""
    chart: Path | None = None


class LocalProcess(FrozenModel):
    """How the engine runs as processes of the local node.

    Attributes:
        source: Folder of the engine's code, relative to the descriptor.
        requirements: Locked Python requirements of its environment.
        build_requirements: Locked packages with which those without a wheel are built.
        template: Command that fills the template database and files.
        serve: Command that serves a store.
    """

    source: Path
    requirements: Path | None = None
    build_requirements: Path | None = None
    template: tuple[str, ...] = Field(min_length=1)
    serve: tuple[str, ...] = Field(min_length=1)


class CronSchedule(FrozenModel):
    """The page of the engine's cron calls, and their interval in seconds."""

    path: str = Field(pattern=r"^/")
    every: int = Field(60, ge=1, le=86_400)


class KubernetesRelease(FrozenModel):
    """How the engine runs as a Helm release.

    Attributes:
        chart: The chart's folder, relative to the descriptor.
        secrets: Names of the Secrets that are generated for each store.
        egress: Which destinations outside the namespace a store may reach.
        cron: The cron calls that a ready store needs, if any.
        default_plan: The plan of a store whose request names none.
        plans: All plans by name.
    """

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
        """The default plan."""
        return self.plans[self.default_plan]


class Engine(FrozenModel):
    """An engine as its descriptor and the catalogue file define it.

    Attributes:
        name: Its id, also the folder's name.
        title: Its name for people.
        summary: One sentence about it.
        default_version: The version of a store whose request names none; by default the first one.
        versions: The versions that a store can have here.
        parameters: JSON Schema of a store's parameters.
        storefront: The front page, and how the engine says that the owner closed the store.
        admin: The admin's page and the generated user's name.
        checks: What a new store shows, and what every working store answers.
        mail: The outbox of the store's mail; None if the engine keeps none.
        local: How it runs on the local runtime; None if it does not.
        kubernetes: How it runs on Kubernetes; None if it does not.
        folder: The descriptor's folder.
        has_choices: Whether stores of one engine can differ in version and plan where they run.
            On the local runtime they cannot: all share one installed environment, without limits.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{1,30}$")
    title: str
    summary: str = ""
    default_version: str = ""
    versions: tuple[EngineVersion, ...] = ()
    parameters: dict[str, Any]
    storefront: StorefrontPage
    admin: AdminPage
    checks: StoreChecks = StoreChecks()
    mail: MailPage | None = None
    local: LocalProcess | None = None
    kubernetes: KubernetesRelease | None = None
    folder: Path
    has_choices: bool = True
    _parameter_schema: ParameterSchema = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Create the parameter schema and set what depends on other fields."""
        del context
        self._parameter_schema = ParameterSchema(self.parameters)
        if not self.default_version and self.versions:
            object.__setattr__(self, "default_version", self.versions[0].version)

    @model_validator(mode="before")
    @classmethod
    def _accept_earlier_format(cls, content: Any) -> Any:
        return read_earlier_format(content) if isinstance(content, dict) else content

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

    @model_validator(mode="after")
    def _check_mail_key(self) -> Self:
        if self.mail and self.kubernetes and MAIL_KEY not in self.kubernetes.secrets:
            raise ValueError(
                f"the section mail needs the secret {MAIL_KEY}: add it to kubernetes.secrets"
            )
        return self

    def runs_on(self, runtime: str) -> bool:
        """Return whether the engine can run on a runtime: `local`, `kubernetes` or `simulated`."""
        match runtime:
            case "local":
                return self.local is not None
            case "kubernetes":
                return self.kubernetes is not None
            case _:
                return True

    def without_choices(self) -> Self:
        """Return the engine with its default version only, and without plans."""
        versions = tuple(v for v in self.versions if v.version == self.default_version)
        return self.model_copy(update={"versions": versions, "has_choices": False})

    def find_version(self, version: str) -> EngineVersion | None:
        """Find a version by its name."""
        return next((known for known in self.versions if known.version == version), None)

    def get_image(self, version: str) -> str | None:
        """Return the container image of a version, or None if the version is not known."""
        known = self.find_version(version)
        return known.image if known else None

    def get_chart_path(self, version: str) -> Path:
        """Return the folder of the chart from which a store of a version is installed.

        Args:
            version: The version's name; an unknown one has the engine's chart.

        Returns:
            An absolute path. It is meaningful only for engines that run on Kubernetes.
        """
        known = self.find_version(version)
        own = known.chart if known else None
        shared = self.kubernetes.chart if self.kubernetes else Path()
        return (self.folder / (own or shared)).resolve()

    @property
    def plans(self) -> dict[str, EnginePlan]:
        """The plans that a new store can have; empty where nothing limits stores."""
        return self.kubernetes.plans if self.kubernetes and self.has_choices else {}

    @property
    def default_plan(self) -> str:
        """The plan of a store whose request names none; empty where nothing limits stores."""
        return self.kubernetes.default_plan if self.kubernetes and self.has_choices else ""

    def get_plan(self, name: str) -> EnginePlan | None:
        """Return a store's plan.

        Args:
            name: The plan in the store's row.

        Returns:
            The plan; the default one if the store has none or its plan no longer exists; None
            where nothing limits stores.
        """
        return self.plans.get(name) or self.plans.get(self.default_plan)

    def choose_version(self, version: str | None) -> str:
        """Return the version for a new store or an upgrade.

        Args:
            version: The requested version; None for the default one.

        Raises:
            InvalidRequest: The version does not exist; the error lists those that do.
        """
        if version is None:
            return self.default_version
        known = [each.version for each in self.versions]
        return _check_choice(version, known, field="version", engine_title=self.title)

    def choose_plan(self, plan: str | None) -> str:
        """Return the plan for a new store.

        Args:
            plan: The requested plan; None for the default one.

        Raises:
            InvalidRequest: The plan does not exist; the error lists those that do.
        """
        if plan is None:
            return self.default_plan
        return _check_choice(plan, list(self.plans), field="plan", engine_title=self.title)

    def complete_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Validate a store's parameters and add the defaults; see `ParameterSchema.complete`."""
        return self._parameter_schema.complete(parameters, engine_title=self.title)

    def add_default_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Add the defaults to an existing store's parameters, without validating them again."""
        return self._parameter_schema.add_defaults(parameters)

    def to_json(self) -> dict[str, Any]:
        """Return the engine as the API shows it."""
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


def _check_choice(name: str, known: Sequence[str], *, field: str, engine_title: str) -> str:
    if name in known:
        return name
    rule = explain_choices(known, if_none=f"cannot be chosen: {engine_title} has no {field}s here")
    raise InvalidRequest(
        f"{engine_title} has no {field} “{name[:60]}” here.", errors=[(f"/{field}", rule)]
    )
