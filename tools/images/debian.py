"""Layers of Debian's packages, without a package manager: the one under most images is Debian 12 with Python 3.11."""

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from tools.images import mirrors
from tools.images.cache import Cache, Key
from tools.images.failure import BuildError, run
from tools.images.oci import Layer, unpack

HOOKS = "/usr/share/mmdebstrap/hooks/merged-usr"
TIMEOUT = 600
USER = 10001
NAME = "storefleet"
#: Never unpacked: they are for people at a terminal. Licences stay.
LEFT_OUT = (
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/share/info/*",
    "/usr/share/lintian/*",
    "/usr/share/doc/*",
)
KEPT = ("/usr/share/doc/*/copyright",)
#: Removed afterwards from every system: what a program in a container has no use for.
USELESS = ("etc/apt", "usr/share/bash-completion", "var/cache", "var/lib/apt", "var/log")


@dataclass(frozen=True, kw_only=True)
class System:
    """A root file system: packages of one suite with all that they depend on, and what is taken out afterwards."""

    name: str
    suite: str
    packages: tuple[str, ...]
    removed: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()


BASE = System(
    name="base",
    suite="bookworm",
    packages=("python3.11", "dumb-init", "ca-certificates", "libstdc++6", "tzdata"),
    removed=(
        "usr/lib/python3.11/pydoc_data",
        "usr/lib/python3.11/test",
        "usr/lib/python3.11/turtle.py",
        "usr/lib/x86_64-linux-gnu/gconv",
    ),
    links=(("usr/bin/python3", "python3.11"), ("usr/bin/python", "python3.11")),
)
#: Made by the kernel's numbers where a layer is run outside a container; a layer itself holds no devices.
DEVICES = {"null": (1, 3), "zero": (1, 5), "random": (1, 8), "urandom": (1, 9)}


def base(cache: Cache) -> Layer:
    return layer_of(BASE, cache)


def layer_of(system: System, cache: Cache) -> Layer:
    key = Key(system, LEFT_OUT, KEPT, USELESS, USER)
    if (known := cache.find(system.name, key)) is not None:
        return known
    _insist_on_mmdebstrap(cache)
    began = time.time()
    with cache.room() as room:
        root = room / "root"
        options = [
            *(
                "--mode=root",
                "--variant=essential",
                f"--hook-dir={HOOKS}",
                f"--include={','.join(system.packages)}",
            ),
            "--aptopt=APT::Install-Recommends false",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
            *(f"--dpkgopt=path-include={pattern}" for pattern in KEPT),
        ]
        environment = {**os.environ, "TMPDIR": str(room)}
        run(
            (
                "mmdebstrap",
                *options,
                "--format=directory",
                system.suite,
                root,
                *mirrors.sources(system.suite, cache),
            ),
            what="Debian's packages could not be put together",
            timeout=TIMEOUT,
            env=environment,
            log=cache.log,
        )
        _finish(root, system)
        return cache.keep(root, name=system.name, key=key, keep_times_before=began - 3600)


def _insist_on_mmdebstrap(cache: Cache) -> None:
    if shutil.which("mmdebstrap"):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise BuildError("mmdebstrap is missing: install Debian's package of that name, as root.")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (
        ("update", "-q"),
        ("install", "-q", "-y", "--no-install-recommends", "mmdebstrap"),
    ):
        run(
            ("apt-get", *arguments),
            what="mmdebstrap could not be installed",
            timeout=TIMEOUT,
            env=environment,
            log=cache.log,
        )


def _finish(root: Path, system: System) -> None:
    for pattern in (*USELESS, *system.removed):
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    with (root / "etc/passwd").open("a", encoding="ascii") as users:
        users.write(f"{NAME}:x:{USER}:{USER}::/tmp:/usr/sbin/nologin\n")
    with (root / "etc/group").open("a", encoding="ascii") as groups:
        groups.write(f"{NAME}:x:{USER}:\n")
    for name, target in system.links:
        (root / name).unlink(missing_ok=True)
        (root / name).symlink_to(target)
    for name in ("etc/resolv.conf", "etc/hostname", "etc/machine-id"):
        (root / name).unlink(missing_ok=True)  # the container runtime's to write


def run_inside(
    layers: tuple[Layer, ...],
    room: Path,
    command: tuple[str, ...],
    *,
    what: str,
    env: dict[str, str],
    cache: Cache,
) -> Path:
    """Run a command in the image that these layers make, as its user, without a container; returns the root folder."""
    root = room / "root"
    root.mkdir()
    unpack(layers, root)
    for name, (major, minor) in DEVICES.items():
        device = root / "dev" / name
        device.parent.mkdir(exist_ok=True)
        os.mknod(device, 0o20666, os.makedev(major, minor))
        device.chmod(0o666)
    output = root / "output"
    output.mkdir()
    os.chown(output, USER, USER)
    ids = (f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs")
    # Mounts and processes are in namespaces of their own: nothing is left of them when it ends, however it does.
    apart = (
        "--mount",
        "--pid",
        "--net",
        "--ipc",
        "--fork",
        "--kill-child",
        f"--root={root}",
        "--mount-proc",
    )
    run(
        ("unshare", *apart, "setpriv", *ids, *command),
        what=what,
        timeout=TIMEOUT,
        env=env,
        log=cache.log,
    )
    return root
