"""Build the images of the platform and of the engines with Docker, and write their catalogue.

An engine has images when stores/<engine>/Dockerfile exists, for the versions that
tools/build-images builds. Where engine.yaml leaves the versions to the build, they come from
WOOCOMMERCE_DIRS or, without it, from the Dockerfile's `ARG VERSION=…` with both theme revisions.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tools.images import plugins
from tools.images.catalogue import CatalogueEntry, make_catalogue, write_catalogue
from tools.images.errors import BuildError
from tools.images.layers import ROOT
from tools.images.oci import open_atomically
from tools.images.products import list_locked_releases

OUTPUT_FOLDER = ROOT / "build" / "images"
PLATFORM_IMAGE = "storefleet/platform"
TIMEOUT_S = 3600


class DockerBuild(NamedTuple):
    """An engine version and the options of `docker build` that select it."""

    entry: CatalogueEntry
    options: tuple[str, ...]


def main() -> int:
    """Build all images and write catalogue.json, docker.json and the list of image names."""
    parser = argparse.ArgumentParser(
        prog="docker-images", description="Build the images with Docker."
    )
    parser.add_argument(
        "--list",
        type=Path,
        required=True,
        metavar="FILE",
        help="file for the image names, one a line",
    )
    options = parser.parse_args()
    try:
        platform, entries = build_images()
    except BuildError as error:
        print(f"docker-images: {error}", file=sys.stderr)
        return 1
    write_catalogue(OUTPUT_FOLDER, make_catalogue(entries))
    _write_text(OUTPUT_FOLDER / "docker.json", json.dumps({"platform": platform}))
    _write_text(options.list, "\n".join([platform, *(entry.image for entry in entries)]))
    return 0


def build_images() -> tuple[str, list[CatalogueEntry]]:
    """Build the platform's image and those of each engine with a Dockerfile."""
    tag = f"{PLATFORM_IMAGE}:local"
    identity = _run_docker("build", "--quiet", "--tag", tag, str(ROOT))
    # One tag per content: Kubernetes replaces the running pods when, and only when, it changed.
    platform = f"{tag}-{identity.strip().removeprefix('sha256:')[:16]}"
    _run_docker("tag", tag, platform)
    entries = []
    for dockerfile in sorted((ROOT / "stores").glob("*/Dockerfile")):
        for entry, options in list_builds(dockerfile):
            print(f"docker-images: building {entry.image} …", flush=True)
            words = ("--quiet", "--file", str(dockerfile), *options, "--tag", entry.image)
            _run_docker("build", *words, str(ROOT))
            entries.append(entry)
    return platform, entries


def list_builds(dockerfile: Path) -> Iterator[DockerBuild]:
    """List the versions that a Dockerfile builds; the default for new stores comes first."""
    engine = dockerfile.parent.name
    locked = list_locked_releases(engine)
    for release, lock in locked:
        entry = CatalogueEntry(engine, release.version, release.image, release.notes)
        yield DockerBuild(entry, _make_build_arguments(LOCKS=str(lock.relative_to(ROOT))))
    if not locked:
        for version, options in _list_plugin_builds(dockerfile):
            entry = CatalogueEntry(engine, version, f"storefleet/{engine}:{version}", "")
            yield DockerBuild(entry, options)


def _list_plugin_builds(dockerfile: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    if os.environ.get(plugins.VARIABLE):
        for release in plugins.list_releases(plugins.read_plugins(os.environ)):
            context = ("--build-context", f"plugin={release.plugin.folder}")
            arguments = _make_build_arguments(
                VERSION=release.version, THEME=str(release.theme_revision)
            )
            yield release.version, (*context, *arguments)
        return
    text = dockerfile.read_text(encoding="utf-8")
    found = re.search(r"(?m)^ARG VERSION=([A-Za-z0-9][A-Za-z0-9._-]*)$", text)
    if found is None:
        raise BuildError(
            f"Neither engine.yaml nor {dockerfile} names a version. Add ARG VERSION=… to it."
        )
    yield found[1], _make_build_arguments(THEME="1")
    yield f"{found[1]}-2", _make_build_arguments(THEME="2", RELEASE=f"{found[1]}-2")


def _make_build_arguments(**arguments: str) -> tuple[str, ...]:
    words: list[str] = []
    for name, value in arguments.items():
        words += ("--build-arg", f"{name}={value}")
    return tuple(words)


def _run_docker(*arguments: str) -> str:
    command = ["docker", *arguments]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"`docker {arguments[0]}` did not run or did not end: {error}") from None
    if done.returncode != 0:
        raise BuildError(
            f"`docker {arguments[0]}` ended with status {done.returncode}; its output is above."
        )
    return done.stdout


def _write_text(path: Path, text: str) -> None:
    with open_atomically(path) as file:
        file.write(f"{text}\n".encode())
