"""The interface of the modules that build images, and helpers that they share.

Such a module (platform.py, oscar.py, …) has a function `build_products`, which main.py calls.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.images import debian
from tools.images.cache import LayerCache
from tools.images.errors import BuildError
from tools.images.layers import ENVIRONMENT, ROOT
from tools.images.oci import Image, Layer

REGISTRY = "docker.io"  # containerd expands a short name with it
INIT_COMMAND = ("/usr/bin/dumb-init", "--single-child", "--")
LABELS = {
    "org.opencontainers.image.licenses": "Apache-2.0",
    "org.opencontainers.image.title": "Storefleet",
}


@dataclass(frozen=True, kw_only=True)
class BuildContext:
    """The inputs of a build: the cache of layers, the Helm program, the environment variables."""

    cache: LayerCache
    helm: Path | None
    environment: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ImageProduct:
    """An image for the archive `<archive_name>.oci.tar`.

    With an engine it is the image of that engine's version; the platform's image has none.
    """

    archive_name: str
    image: Image
    engine: str = ""
    version: str = ""
    notes: str = ""


#: Builds the images of a module one after the other; raises MaterialMissing without its source.
Recipe = Callable[[BuildContext], Iterable[ImageProduct]]


def make_short_name(image: Image) -> str:
    """Return the name that engines and charts use, without the registry."""
    return image.reference.removeprefix(f"{REGISTRY}/")


@dataclass(frozen=True)
class EngineRelease:
    """A version as engine.yaml lists it."""

    version: str
    image: str
    notes: str


def make_image(
    name: str,
    parts: tuple[Layer, ...],
    *,
    entrypoint: tuple[str, ...],
    command: tuple[str, ...],
    environment: dict[str, str] | None = None,
    plain: bool = False,
) -> Image:
    """Make an image that runs as the user `storefleet`.

    With `plain`, its environment is exactly `environment`, without the variables for Python.
    """
    return Image(
        reference=f"{REGISTRY}/{name}",
        layers=parts,
        entrypoint=entrypoint,
        command=command,
        user=f"{debian.USER_ID}:{debian.USER_ID}",
        working_directory="/tmp",  # noqa: S108 - in the container
        environment={**({} if plain else ENVIRONMENT), **(environment or {})},
        labels=LABELS,
    )


def list_locked_releases(engine: str) -> list[tuple[EngineRelease, Path]]:
    """List the versions in engine.yaml that are locked here, with the folders of their locks.

    The first version is locked in stores/<engine>, the second in its subfolder `previous` if that
    exists; images of others come from elsewhere. The list is empty where engine.yaml leaves the
    versions to the build.
    """
    path = ROOT / "charts" / engine / "engine.yaml"
    text = path.read_text(encoding="utf-8")  # the standard library cannot parse YAML
    found = re.findall(
        r'(?m)^ +- version: "?([^"\s]+)"?\n +image: (\S+:\S+)\n(?: +notes: (.+)\n)?', text
    )
    folder = ROOT / "stores" / engine
    locks = [lock for lock in (folder, folder / "previous") if lock.is_dir()]
    if found and len(found) < len(locks):
        raise BuildError(
            f"charts/{engine}/engine.yaml does not list a version and an image for each lock in "
            f"stores/{engine}. Correct it."
        )
    return [(EngineRelease(*names), lock) for names, lock in zip(found, locks, strict=False)]


def check_locked_version(release: EngineRelease, pattern: str, lock: Path) -> None:
    """Raise BuildError unless the lock contains the version; `pattern` captures it in the lock."""
    found = match_group(
        pattern,
        lock.read_text(encoding="utf-8"),
        f"{lock.relative_to(ROOT)} does not contain the engine",
    )
    if found != release.version:
        raise BuildError(
            f"{lock.relative_to(ROOT)} locks version {found}, but engine.yaml lists "
            f"{release.version}. Correct one of them."
        )


def match_group(pattern: str, text: str, problem: str) -> str:
    """Return the first group of `pattern` in `text`; raise BuildError with `problem` otherwise."""
    match = re.search(pattern, text)
    if match is None:
        raise BuildError(f"{problem}. Correct it and build again.")
    return match.group(1)
