"""The command line: which images, where to, and what was made."""

import argparse
import json
import os
import re
import sys
import tarfile
import time
from pathlib import Path

from build_images import debian, layers
from build_images.cache import Cache
from build_images.failure import BuildError
from build_images.oci import Image, Layer, blob_name, digest_of, write_archive

REGISTRY = "docker.io"  # what containerd takes a short name for
INIT = ("/usr/bin/dumb-init", "--single-child", "--")
LABELS = {"org.opencontainers.image.licenses": "Apache-2.0", "org.opencontainers.image.title": "Storefleet"}
MIB = 1 << 20
NAMES = ("platform", "oscar")


def main() -> int:
    options = _options()
    try:
        _insist_on_root_and_python()
        cache = Cache.of_this_user()
        with cache.held():
            for name in dict.fromkeys(options.images or NAMES):
                _build(name, options, cache)
    except BuildError as error:
        print(f"build-images: {error}", file=sys.stderr)
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="build-images", description="Make container images without an engine.")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for NAME.oci.tar")
    parser.add_argument("--helm", type=Path, metavar="PATH", help="the program of Helm 4, for the platform's image")
    parser.add_argument("images", nargs="*", metavar="|".join(NAMES), help="default: all")
    options = parser.parse_args()
    if unknown := set(options.images) - set(NAMES):
        parser.error(f"there is no image {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    return options


def _insist_on_root_and_python() -> None:
    if sys.version_info[:2] != (3, 11):
        raise BuildError("The images hold Python 3.11, so their packages are compiled by it: run this with python3.11.")
    if os.geteuid() != 0:
        raise BuildError("Debian's packages are unpacked with their owners: run this as root.")


def _build(name: str, options: argparse.Namespace, cache: Cache) -> None:
    began = time.monotonic()
    image = _platform(cache, options.helm) if name == "platform" else _oscar(cache)
    target = options.output / f"{name}.oci.tar"
    kept = is_current(target, image)
    if not kept:
        write_archive(image, target)
    _report(image, target, kept=kept, seconds=time.monotonic() - began)


def _platform(cache: Cache, helm: Path | None) -> Image:
    parts = (
        debian.base(cache),
        layers.postgresql(cache),
        layers.platform_environment(cache),
        layers.helm(cache, helm),
        layers.platform_code(cache),
    )
    return _image(
        f"storefleet/platform:{_platform_version()}", parts, entrypoint=INIT, command=("storefleet", "--help")
    )


def _oscar(cache: Cache) -> Image:
    below = (
        debian.base(cache),
        layers.postgresql(cache),
        layers.oscar_environment(cache),
        layers.oscar_source(cache),
    )
    parts = (*below, layers.oscar_template(cache, below))
    entrypoint = (*INIT, "python", "-m", "storefleet_oscar")
    environment = layers.OSCAR_ENVIRONMENT
    return _image(_oscar_name(), parts, entrypoint=entrypoint, command=("serve",), environment=environment)


def _image(
    name: str,
    parts: tuple[Layer, ...],
    *,
    entrypoint: tuple[str, ...],
    command: tuple[str, ...],
    environment: dict[str, str] | None = None,
) -> Image:
    return Image(
        reference=f"{REGISTRY}/{name}",
        layers=parts,
        entrypoint=entrypoint,
        command=command,
        user=f"{debian.USER}:{debian.USER}",
        directory="/tmp",  # noqa: S108 - in the container
        environment={**layers.ENVIRONMENT, **(environment or {})},
        labels=LABELS,
    )


def _platform_version() -> str:
    text = (layers.ROOT / "libs/storefleet/__init__.py").read_text(encoding="utf-8")
    return _only(r'__version__ = "([^"]+)"', text, "libs/storefleet/__init__.py names no version")


def _oscar_name() -> str:
    text = (layers.ROOT / "charts/oscar/engine.yaml").read_text(encoding="utf-8")
    return _only(r"(?m)^ +image: (\S+:\S+)$", text, "charts/oscar/engine.yaml names no image")


def _only(pattern: str, text: str, problem: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise BuildError(f"{problem}: correct it, and build again.")
    return match.group(1)


def is_current(target: Path, image: Image) -> bool:
    """Whether the archive that is there holds this very image, and is whole."""
    try:
        with tarfile.open(target) as archive:
            content = {entry.name: entry for entry in archive}
            index = json.loads(archive.extractfile(content["index.json"]).read())  # type: ignore[union-attr]
            entry = index["manifests"][0]
            told = (entry["digest"], entry["annotations"]["io.containerd.image.name"])
    except (OSError, tarfile.TarError, KeyError, ValueError):
        return False
    whole = all(blob_name(layer.digest) in content for layer in image.layers)
    return whole and told == (digest_of(image), image.reference)


def _report(image: Image, target: Path, *, kept: bool, seconds: float) -> None:
    packed, unpacked = (sum(getattr(layer, of) for layer in image.layers) / MIB for of in ("size", "unpacked"))
    state = "kept" if kept else "made"
    print(f"{image.reference}: {packed:.0f} MiB packed, {unpacked:.0f} MiB unpacked, {state} in {seconds:.0f} s")
    for layer in image.layers:
        print(f"  {layer.name:<22} {layer.size / MIB:6.1f} MiB  {layer.unpacked / MIB:6.1f} MiB  {layer.digest[7:19]}")
    print(f"  {target}")
