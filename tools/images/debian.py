"""Build image layers of Debian packages with mmdebstrap, and run programs inside layers.

The base layer of most images is Debian 12 with Python 3.11, without a package manager.
"""

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from tools.images import mirrors
from tools.images.cache import CacheKey, LayerCache
from tools.images.errors import BuildError
from tools.images.oci import Layer, unpack_layers
from tools.images.programs import run_program

HOOK_FOLDER = "/usr/share/mmdebstrap/hooks/merged-usr"
TIMEOUT_S = 600
USER_ID = 10001
USER_NAME = "storefleet"
#: Not unpacked by dpkg: documentation and translations. Licences stay.
EXCLUDED_PATHS = (
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/share/info/*",
    "/usr/share/lintian/*",
    "/usr/share/doc/*",
)
INCLUDED_PATHS = ("/usr/share/doc/*/copyright",)
#: Removed from every root file system after the installation; nothing in a container needs them.
REMOVED_PATHS = ("etc/apt", "usr/share/bash-completion", "var/cache", "var/lib/apt", "var/log")


@dataclass(frozen=True, kw_only=True)
class RootFilesystem:
    """Packages of one Debian suite with their dependencies, minus the paths removed afterwards."""

    name: str
    suite: str
    packages: tuple[str, ...]
    removed_paths: tuple[str, ...] = ()
    symlinks: tuple[tuple[str, str], ...] = ()


BASE = RootFilesystem(
    name="base",
    suite="bookworm",
    packages=("python3.11", "dumb-init", "ca-certificates", "libstdc++6", "tzdata"),
    removed_paths=(
        "usr/lib/python3.11/pydoc_data",
        "usr/lib/python3.11/test",
        "usr/lib/python3.11/turtle.py",
        "usr/lib/x86_64-linux-gnu/gconv",
    ),
    symlinks=(("usr/bin/python3", "python3.11"), ("usr/bin/python", "python3.11")),
)
#: Device numbers (major, minor). Layers hold no devices; they are created where a program runs in
#: layers without a container.
DEVICE_NUMBERS = {"null": (1, 3), "zero": (1, 5), "random": (1, 8), "urandom": (1, 9)}


def build_base_layer(cache: LayerCache) -> Layer:
    """Build the layer of Debian 12 with Python 3.11."""
    return build_layer(BASE, cache)


def build_layer(system: RootFilesystem, cache: LayerCache) -> Layer:
    """Install a root file system with mmdebstrap and pack it as a layer."""
    key = CacheKey(system, EXCLUDED_PATHS, INCLUDED_PATHS, REMOVED_PATHS, USER_ID)
    if (known := cache.find_layer(system.name, key)) is not None:
        return known
    _ensure_mmdebstrap(cache)
    began = time.time()
    with cache.create_work_folder() as work:
        root = work / "root"
        options = [
            "--mode=root",
            "--variant=essential",
            f"--hook-dir={HOOK_FOLDER}",
            f"--include={','.join(system.packages)}",
            "--aptopt=APT::Install-Recommends false",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED_PATHS),
            *(f"--dpkgopt=path-include={pattern}" for pattern in INCLUDED_PATHS),
        ]
        environment = {**os.environ, "TMPDIR": str(work)}
        run_program(
            (
                "mmdebstrap",
                *options,
                "--format=directory",
                system.suite,
                root,
                *mirrors.list_sources(system.suite, cache),
            ),
            failure="The Debian packages could not be installed",
            timeout_s=TIMEOUT_S,
            environment=environment,
            log=cache.log,
        )
        _finish_root(root, system)
        return cache.store_layer(
            root, name=system.name, key=key, preserve_mtime_before=began - 3600
        )


def _ensure_mmdebstrap(cache: LayerCache) -> None:
    if shutil.which("mmdebstrap"):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise BuildError(
            "The program mmdebstrap is missing. Install the Debian package of that name, as root."
        )
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (
        ("update", "-q"),
        ("install", "-q", "-y", "--no-install-recommends", "mmdebstrap"),
    ):
        run_program(
            ("apt-get", *arguments),
            failure="The package mmdebstrap could not be installed",
            timeout_s=TIMEOUT_S,
            environment=environment,
            log=cache.log,
        )


def _finish_root(root: Path, system: RootFilesystem) -> None:
    for pattern in (*REMOVED_PATHS, *system.removed_paths):
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    with (root / "etc/passwd").open("a", encoding="ascii") as users:
        users.write(f"{USER_NAME}:x:{USER_ID}:{USER_ID}::/tmp:/usr/sbin/nologin\n")
    with (root / "etc/group").open("a", encoding="ascii") as groups:
        groups.write(f"{USER_NAME}:x:{USER_ID}:\n")
    for name, target in system.symlinks:
        (root / name).unlink(missing_ok=True)
        (root / name).symlink_to(target)
    for name in ("etc/resolv.conf", "etc/hostname", "etc/machine-id"):
        (root / name).unlink(missing_ok=True)  # written by the container runtime


def run_in_layers(
    layers: tuple[Layer, ...],
    work: Path,
    command: tuple[str, ...],
    *,
    failure: str,
    environment: dict[str, str],
    cache: LayerCache,
) -> Path:
    """Run a command in the root file system of these layers, as the image's user.

    No container engine is involved: mounts, processes and network are in namespaces that end with
    the command. The command finds an empty, writable folder /output.

    Returns the root folder, from which the caller copies the output.
    """
    root = work / "root"
    root.mkdir()
    unpack_layers(layers, root)
    for name, (major, minor) in DEVICE_NUMBERS.items():
        device = root / "dev" / name
        device.parent.mkdir(exist_ok=True)
        os.mknod(device, 0o20666, os.makedev(major, minor))
        device.chmod(0o666)
    output = root / "output"
    output.mkdir()
    os.chown(output, USER_ID, USER_ID)
    ids = (f"--reuid={USER_ID}", f"--regid={USER_ID}", "--clear-groups", "--no-new-privs")
    namespaces = (
        "--mount",
        "--pid",
        "--net",
        "--ipc",
        "--fork",
        "--kill-child",
        f"--root={root}",
        "--mount-proc",
    )
    run_program(
        ("unshare", *namespaces, "setpriv", *ids, *command),
        failure=failure,
        timeout_s=TIMEOUT_S,
        environment=environment,
        log=cache.log,
    )
    return root
