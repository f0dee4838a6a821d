"""Build the cluster's programs from source into a cache, once.

Sources are pinned by go.sum. A program's folder in the cache is named by the hash of its sources
and build command, so a change of either builds it again.
"""

import contextlib
import hashlib
import os
import platform
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.devcluster import commands, files
from tools.devcluster.errors import ClusterError
from tools.devcluster.programs import debian

PACKAGE_FOLDER = Path(__file__).resolve().parents[1]
MIN_GO_VERSION = (1, 26, 6)
BUILD_TIMEOUT_S = 3600
KUBERNETES_VERSION = "1.36.3"
_VERSION_PACKAGE = "k8s.io/component-base/version"
_KUBERNETES_FLAGS = (
    f"-s -w -X {_VERSION_PACKAGE}.gitVersion=v{KUBERNETES_VERSION}"
    f" -X {_VERSION_PACKAGE}.gitMajor=1 -X {_VERSION_PACKAGE}.gitMinor=36"
    f" -X {_VERSION_PACKAGE}.gitTreeState=clean"
)

_HELM_FLAGS = "-s -w -X helm.sh/helm/v4/internal/version.version=v4.3.1"


@dataclass(frozen=True)
class GoModule:
    """Programs that are built from one go.mod; `packages` are their import paths."""

    name: str
    packages: tuple[str, ...]
    tags: str = ""
    flags: str = "-s -w"
    cgo: bool = False

    @property
    def folder(self) -> Path:
        """The folder of go.mod."""
        return PACKAGE_FOLDER / "go" / self.name

    def list_programs(self) -> list[str]:
        """List the names of the programs that the build creates."""
        return [
            self.name if package == "." else package.rpartition("/")[2] for package in self.packages
        ]

    def list_sources(self) -> list[Path]:
        """List the files that the programs depend on."""
        return sorted(
            path for path in self.folder.iterdir() if path.suffix in {".go", ".mod", ".sum"}
        )

    def make_command(self, go: str, output: Path) -> list[str]:
        """Make the command that builds all programs into the folder `output`."""
        output_flag = [f"-o={output}{os.sep}"]
        tags = [f"-tags={self.tags}"] if self.tags else []
        return [
            go,
            "build",
            "-trimpath",
            *tags,
            f"-ldflags={self.flags}",
            *output_flag,
            *self.packages,
        ]


@dataclass(frozen=True)
class PauseProgram:
    """The program that holds a pod's namespaces open: one C file, linked statically."""

    name: str = "pause"
    cgo: bool = True

    def list_programs(self) -> list[str]:
        """List the program's name."""
        return ["pause"]

    def list_sources(self) -> list[Path]:
        """List the C file."""
        return [PACKAGE_FOLDER / "pause" / "pause.c"]

    def make_command(self, go: str, output: Path) -> list[str]:
        """Make the command that compiles the program into the folder `output`."""
        del go
        return [
            "gcc",
            "-Os",
            "-Wall",
            "-Wextra",
            "-static",
            "-s",
            "-o",
            f"{output / 'pause'}",
            str(self.list_sources()[0]),
        ]

    @property
    def folder(self) -> Path:
        """The folder of the C file."""
        return PACKAGE_FOLDER / "pause"


_CONTAINERD = "github.com/containerd/containerd/v2/cmd"
_KUBE = "k8s.io/kubernetes/cmd"
MODULES: tuple[GoModule | PauseProgram, ...] = (
    GoModule(
        "kubernetes",
        tuple(
            f"{_KUBE}/{name}"
            for name in (
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kubelet",
                "kube-proxy",
                "kubectl",
            )
        ),
        flags=_KUBERNETES_FLAGS,
    ),
    GoModule(
        "containerd",
        tuple(f"{_CONTAINERD}/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")),
        tags="no_btrfs,no_devmapper,no_zfs",
    ),
    GoModule("runc", ("github.com/opencontainers/runc",), tags="seccomp", cgo=True),
    PauseProgram(),
    GoModule("etcd", (".",)),
    GoModule("coredns", (".",)),
    GoModule("kube-network-policies", (".",)),
    GoModule("helm", ("helm.sh/helm/v4/cmd/helm",), flags=_HELM_FLAGS),
    GoModule("kwok", ("sigs.k8s.io/kwok/cmd/kwok",)),
)


def get_default_cache() -> Path:
    """Return the user's cache folder, below XDG_CACHE_HOME."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base).resolve() / "storefleet" / "bare-cluster"


def get_cached_folder(cache: Path, module: GoModule | PauseProgram) -> Path:
    """Return the folder of a module's programs, named by the hash of sources and build command."""
    digest = hashlib.sha256()
    words = [platform.machine(), *module.make_command("go", Path("/output")), f"cgo={module.cgo}"]
    digest.update(
        "\0".join(word for word in words if not word.startswith(str(PACKAGE_FOLDER))).encode()
    )
    for source in module.list_sources():
        content = source.read_bytes()
        digest.update(f"\0{source.name}\0{len(content)}\0".encode() + content)
    return cache / f"{module.name}-{digest.hexdigest()[:16]}"


def list_missing_modules(cache: Path) -> list[GoModule | PauseProgram]:
    """List the modules that are not built yet."""
    return [module for module in MODULES if not get_cached_folder(cache, module).is_dir()]


def locate_programs(cache: Path) -> dict[str, Path]:
    """Map the name of each program to its file in the cache."""
    return {
        name: get_cached_folder(cache, module) / name
        for module in MODULES
        for name in module.list_programs()
    }


def build_missing_modules(cache: Path) -> list[str]:
    """Build the modules that the cache lacks; return their names."""
    if not list_missing_modules(cache):
        return []
    cache.mkdir(parents=True, exist_ok=True)
    with files.lock_folder(cache, purpose="build"):
        wanted = list_missing_modules(cache)
        if not wanted:
            return []
        if any(module.cgo for module in wanted):
            debian.install_packages(debian.BUILD_PACKAGES)
        go = find_go()
        for module in wanted:
            _build_module(module, go, cache)
    return [module.name for module in wanted]


def _build_module(module: GoModule | PauseProgram, go: str, cache: Path) -> None:
    began = time.monotonic()
    print(f"bare-cluster: building {', '.join(module.list_programs())} …", flush=True)
    with create_temporary_folder(cache, module.name) as output:
        hint = (
            f"It runs in {module.folder}. Finished modules stay in the cache, so the same command "
            "continues from here."
        )
        command = module.make_command(go, output)
        commands.run_command(
            command,
            timeout_s=BUILD_TIMEOUT_S,
            cwd=module.folder,
            env=make_environment(cgo=module.cgo),
            hint=hint,
        )
        missing = [name for name in module.list_programs() if not (output / name).is_file()]
        if missing:
            raise ClusterError(
                f"`{command[0]} {command[1]}` in {module.folder} did not create "
                f"{', '.join(missing)}."
            )
        output.rename(get_cached_folder(cache, module))
    print(f"bare-cluster: built {module.name} in {time.monotonic() - began:.0f} s", flush=True)


@contextlib.contextmanager
def create_temporary_folder(cache: Path, name: str) -> Iterator[Path]:
    """Create a folder that the caller renames to its final name; it is removed otherwise.

    Folders that killed builds left are removed first.
    """
    for old in cache.glob(f".{name}-*"):
        shutil.rmtree(old, ignore_errors=True)
    folder = cache / f".{name}-{secrets.token_hex(4)}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_environment(*, cgo: bool) -> dict[str, str]:
    """Return the caller's environment for Go, without variables that would change the programs."""
    dropped = (
        "GOFLAGS",
        "GOOS",
        "GOARCH",
        "GOEXPERIMENT",
        "GO111MODULE",
        "CGO_CFLAGS",
        "CGO_LDFLAGS",
    )
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    own = {
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "CGO_ENABLED": "1" if cgo else "0",
    }
    return {"HOME": str(Path.home()), **kept, **own}


def find_go() -> str:
    """Find Go in a sufficient version, on PATH or in /usr/local/go; return its path."""
    needed = ".".join(map(str, MIN_GO_VERSION))
    found = []
    for go in filter(None, (shutil.which("go"), shutil.which("/usr/local/go/bin/go"))):
        answer = commands.run_command([go, "version"], env={**os.environ, "GOTOOLCHAIN": "local"})
        version = parse_go_version(answer)
        if version >= MIN_GO_VERSION:
            return go
        found.append(f"{go} is {'.'.join(map(str, version))}")
    have = "; ".join(found) or "none was found on PATH or in /usr/local/go"
    raise ClusterError(
        f"Building the cluster's programs needs Go {needed} or newer: {have}. Install it once."
    )


def parse_go_version(answer: str) -> tuple[int, ...]:
    """Parse the output of `go version`, such as `go version go1.26.8 linux/amd64`."""
    words = answer.split()
    text = words[2].removeprefix("go") if len(words) > 2 else ""
    parts = [part for part in text.split(".") if part.isdigit()]
    return tuple(int(part) for part in parts) or (0,)
