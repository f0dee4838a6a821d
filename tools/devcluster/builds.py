"""The cluster's programs, built from source once: pinned by go.sum, kept in a cache under the hash of what they are."""

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

from tools.devcluster import commands, debian, files
from tools.devcluster.errors import ClusterError

PACKAGE_FOLDER = Path(__file__).resolve().parent
MIN_GO_VERSION = (1, 26, 6)
BUILD_TIMEOUT_S = 3600
KUBERNETES_VERSION = "1.36.3"
_VERSION_PACKAGE = "k8s.io/component-base/version"
_KUBERNETES_FLAGS = (
    f"-s -w -X {_VERSION_PACKAGE}.gitVersion=v{KUBERNETES_VERSION} -X {_VERSION_PACKAGE}.gitMajor=1 -X {_VERSION_PACKAGE}.gitMinor=36"
    f" -X {_VERSION_PACKAGE}.gitTreeState=clean"
)

_HELM_FLAGS = "-s -w -X helm.sh/helm/v4/internal/version.version=v4.3.1"


@dataclass(frozen=True)
class GoModule:
    """Programs that are built from one go.mod."""

    name: str
    packages: tuple[str, ...]
    tags: str = ""
    flags: str = "-s -w"
    cgo: bool = False

    @property
    def folder(self) -> Path:
        return PACKAGE_FOLDER / "go" / self.name

    def list_programs(self) -> list[str]:
        return [
            self.name if package == "." else package.rpartition("/")[2] for package in self.packages
        ]

    def list_sources(self) -> list[Path]:
        return sorted(
            path for path in self.folder.iterdir() if path.suffix in {".go", ".mod", ".sum"}
        )

    def make_command(self, go: str, output: Path) -> list[str]:
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
    """The program that holds a pod's namespaces: one file of C, without a library."""

    name: str = "pause"
    cgo: bool = True

    def list_programs(self) -> list[str]:
        return ["pause"]

    def list_sources(self) -> list[Path]:
        return [PACKAGE_FOLDER / "pause" / "pause.c"]

    def make_command(self, go: str, output: Path) -> list[str]:
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
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base).resolve() / "storefleet" / "bare-cluster"


def get_cached_folder(cache: Path, module: GoModule | PauseProgram) -> Path:
    """Where the module's programs lie, or will: named by the hash of their sources and of how they are built."""
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
    return [module for module in MODULES if not get_cached_folder(cache, module).is_dir()]


def locate_programs(cache: Path) -> dict[str, Path]:
    """Each program's name and file."""
    return {
        name: get_cached_folder(cache, module) / name
        for module in MODULES
        for name in module.list_programs()
    }


def build_missing_modules(cache: Path) -> list[str]:
    """Builds what the cache lacks; returns the names of what was built."""
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
        hint = f"It runs in {module.folder}; what is built already stays, so the same command goes on from here."
        command = module.make_command(go, output)
        commands.run_command(
            command,
            timeout_s=BUILD_TIMEOUT_S,
            cwd=module.folder,
            env=make_environment(module),
            hint=hint,
        )
        lacking = [name for name in module.list_programs() if not (output / name).is_file()]
        if lacking:
            raise ClusterError(
                f"`{command[0]} {command[1]}` in {module.folder} made no {', '.join(lacking)}."
            )
        output.rename(get_cached_folder(cache, module))
    print(f"bare-cluster: built {module.name} in {time.monotonic() - began:.0f} s", flush=True)


@contextlib.contextmanager
def create_temporary_folder(cache: Path, name: str) -> Iterator[Path]:
    """A folder that becomes the real one by a rename; those of killed builds go first."""
    for old in cache.glob(f".{name}-*"):
        shutil.rmtree(old, ignore_errors=True)
    folder = cache / f".{name}-{secrets.token_hex(4)}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_environment(module: GoModule | PauseProgram) -> dict[str, str]:
    """The caller's, without what would change the programs."""
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
    cgo = "1" if module.cgo else "0"
    own = {
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "CGO_ENABLED": cgo,
    }
    return {"HOME": str(Path.home()), **kept, **own}


def find_go() -> str:
    """A Go that is new enough, from PATH or its usual folder."""
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
        f"Go {needed} or newer is needed to build the cluster's programs: {have}. Install it, once."
    )


def parse_go_version(answer: str) -> tuple[int, ...]:
    """From `go version go1.26.8 linux/amd64`."""
    words = answer.split()
    text = words[2].removeprefix("go") if len(words) > 2 else ""
    parts = [part for part in text.split(".") if part.isdigit()]
    return tuple(int(part) for part in parts) or (0,)
