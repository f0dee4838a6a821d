"""The engine catalogue: every engine that is known, and which of them a new store can have.

It is read once at start from the descriptors and, where images are built, from the catalogue file
that the image build writes (`STOREFLEET_CATALOGUE`).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from pydantic import TypeAdapter, ValidationError

from storefleet.core.errors import InvalidRequest
from storefleet.core.models import FrozenModel
from storefleet.engines.descriptor import Engine, EngineDescriptorError, EngineVersion
from storefleet.engines.parameters import explain_choices

#: The default engine where none is configured: the first of these that is on offer.
_PREFERRED_ENGINES = ("woocommerce", "oscar")


class EngineCatalogue:
    """The engines of one platform, by name. Iteration yields those that a new store can have."""

    def __init__(
        self, engines: Iterable[Engine], *, runtime: str, unbuilt: Collection[str] = ()
    ) -> None:
        """Create the catalogue.

        Args:
            engines: All known engines.
            runtime: Where stores run; not every engine can run there.
            unbuilt: Names of engines for which no image was built.
        """
        self._engines = {engine.name: engine for engine in engines}
        self._runtime = runtime
        self._unbuilt = frozenset(unbuilt)

    def __iter__(self) -> Iterator[Engine]:
        """Iterate over the engines that a new store can have."""
        return (
            engine for engine in self._engines.values() if self._explain_unavailable(engine) is None
        )

    def list_known(self) -> Iterator[Engine]:
        """Iterate over all engines, including those that a new store cannot have."""
        return iter(self._engines.values())

    def find(self, name: str) -> Engine | None:
        """Find any known engine, for a store that exists already."""
        return self._engines.get(name)

    def get_default_name(self, configured: str) -> str:
        """Return the name of the engine of a store whose request names none.

        Args:
            configured: The setting `default_engine`; it wins if it is not empty.

        Returns:
            An engine's name, or "" if none is on offer.
        """
        offered = [engine.name for engine in self]
        preferred = (*_PREFERRED_ENGINES, *offered)
        return configured or next((name for name in preferred if name in offered), "")

    def get_offered(self, name: str) -> Engine:
        """Return the engine for a new store.

        Args:
            name: The engine's name.

        Raises:
            InvalidRequest: A new store cannot have it; the error lists the engines on offer.
        """
        rule = explain_choices(
            [each.name for each in self], if_none="cannot be chosen: no engine is on offer"
        )
        engine = self._engines.get(name)
        if engine is None:
            raise InvalidRequest(
                "The engine does not exist." if name else "No engine is on offer.",
                errors=[("/engine", rule)],
            )
        if reason := self._explain_unavailable(engine):
            raise InvalidRequest(f"The engine {name} {reason}.", errors=[("/engine", rule)])
        return engine

    def _explain_unavailable(self, engine: Engine) -> str | None:
        if not engine.runs_on(self._runtime):
            return f"does not run here: it does not support the runtime “{self._runtime}”"
        if engine.name in self._unbuilt:
            return "is not on offer: its image was not built, see tools/build-images"
        return None if engine.versions else "is not on offer: it has no versions"


class BuiltEngine(FrozenModel):
    """An engine's entry in the catalogue file: the versions whose images were built."""

    default_version: str = ""
    versions: tuple[EngineVersion, ...] = ()


_CATALOGUE_FILE = TypeAdapter(dict[str, BuiltEngine])


def load_engines(
    descriptor_folders: Iterable[Path],
    *,
    runtime: str = "simulated",
    catalogue_file: Path | None = None,
) -> EngineCatalogue:
    """Read every `<folder>/<engine>/engine.yaml` and add the versions of the catalogue file.

    Args:
        descriptor_folders: Folders that contain one folder per engine.
        runtime: Where stores run.
        catalogue_file: JSON that the image build wrote, if there is one. On Kubernetes an engine
            that it does not list is not on offer.

    Raises:
        EngineDescriptorError: A file is invalid; the error names it and the rule.
    """
    built = _read_catalogue_file(catalogue_file) if catalogue_file else {}
    paths = [path for folder in descriptor_folders for path in sorted(folder.glob("*/engine.yaml"))]
    engines = [_read_descriptor(path, built) for path in paths]
    if runtime == "local":
        engines = [engine.without_choices() for engine in engines]
    lists_images = catalogue_file is not None and runtime == "kubernetes"
    unbuilt = {engine.name for engine in engines} - built.keys() if lists_images else set()
    return EngineCatalogue(engines, runtime=runtime, unbuilt=unbuilt)


def _read_descriptor(path: Path, built: Mapping[str, BuiltEngine]) -> Engine:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if entry := built.get(content["name"]):
            content = {**content, **_merge_versions(content, entry)}
        engine = Engine(**{**content, "folder": path.parent})
        Draft202012Validator.check_schema(engine.parameters)
    except (OSError, yaml.YAMLError, TypeError, KeyError, ValidationError, SchemaError) as error:
        raise EngineDescriptorError(f"{path}: {error}") from None
    return engine


def _read_catalogue_file(path: Path) -> dict[str, BuiltEngine]:
    try:
        return _CATALOGUE_FILE.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise EngineDescriptorError(f"{path}: {error}") from None


def _merge_versions(content: dict[str, Any], built: BuiltEngine) -> dict[str, Any]:
    """Add the built versions to the descriptor's; a built one replaces one of the same name."""
    versions = {each["version"]: each for each in content.get("versions") or ()}
    versions.update({each.version: each.model_dump() for each in built.versions})
    default = built.default_version or content.get("default_version") or ""
    return {"versions": list(versions.values()), "default_version": default}
