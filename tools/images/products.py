"""What the modules of images have in common: what they are asked with, what they give, and how an image is put up."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.images import debian
from tools.images.cache import LayerCache
from tools.images.failure import BuildError
from tools.images.layers import ENVIRONMENT, ROOT
from tools.images.oci import Image, Layer

REGISTRY = "docker.io"  # what containerd takes a short name for
INIT_COMMAND = ("/usr/bin/dumb-init", "--single-child", "--")
LABELS = {
    "org.opencontainers.image.licenses": "Apache-2.0",
    "org.opencontainers.image.title": "Storefleet",
}


@dataclass(frozen=True, kw_only=True)
class BuildContext:
    """What a module may use."""

    cache: LayerCache
    helm: Path | None
    environment: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ImageProduct:
    """An image for the archive `<archive>.oci.tar`; with an engine, it is that engine's version `version`."""

    archive_name: str
    image: Image
    engine: str = ""
    version: str = ""
    notes: str = ""


#: Makes the images of one kind, one after the other; raises Absent when what they are made of is not there.
Recipe = Callable[[BuildContext], Iterable[ImageProduct]]


class MaterialMissing(Exception):
    """Nothing is wrong, but what this image is made of has not been given; the text says what, and how to give it."""


def make_short_name(image: Image) -> str:
    """As engines and charts name it."""
    return image.reference.removeprefix(f"{REGISTRY}/")


@dataclass(frozen=True)
class EngineRelease:
    """A version as engine.yaml has it."""

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
    """An image of our user; `plain` has only the environment that is given, none for Python."""
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
    """What is made here of the versions that charts/<engine>/engine.yaml names, each with the folder of its lock.

    The first has its lock in stores/<engine>, the second in `previous` there, if that is there; others are made
    elsewhere. There is none where versions are left to the build.
    """
    path = ROOT / "charts" / engine / "engine.yaml"
    text = path.read_text(encoding="utf-8")  # nothing here has YAML
    found = re.findall(
        r'(?m)^ +- version: "?([^"\s]+)"?\n +image: (\S+:\S+)\n(?: +notes: (.+)\n)?', text
    )
    folder = ROOT / "stores" / engine
    locks = [lock for lock in (folder, folder / "previous") if lock.is_dir()]
    if found and len(found) < len(locks):
        raise BuildError(
            f"charts/{engine}/engine.yaml does not name a version and an image for each lock: correct it."
        )
    return [(EngineRelease(*names), lock) for names, lock in zip(found, locks, strict=False)]


def check_locked_version(release: EngineRelease, pattern: str, lock: Path) -> None:
    """A lock has the version that engine.yaml names; the pattern's group is the lock's."""
    found = match_group(
        pattern,
        lock.read_text(encoding="utf-8"),
        f"{lock.relative_to(ROOT)} does not name the engine",
    )
    if found != release.version:
        raise BuildError(
            f"{lock.relative_to(ROOT)} is of {found}, and engine.yaml names {release.version}: correct one."
        )


def match_group(pattern: str, text: str, problem: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise BuildError(f"{problem}: correct it, and build again.")
    return match.group(1)
