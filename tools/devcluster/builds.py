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

HERE = Path(__file__).resolve().parent
GO_NEEDED = (1, 26, 6)
BUILD_TIMEOUT = 3600
KUBERNETES = "1.36.3"
_VERSION = "k8s.io/component-base/version"
_KUBERNETES_FLAGS = (
    f"-s -w -X {_VERSION}.gitVersion=v{KUBERNETES} -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=36"
    f" -X {_VERSION}.gitTreeState=clean"
)

_HELM_FLAGS = "-s -w -X helm.sh/helm/v4/internal/version.version=v4.3.1"


@dataclass(frozen=True)
class Module:
    """Programs that are built from one go.mod."""

    name: str
    packages: tuple[str, ...]
    tags: str = ""
    flags: str = "-s -w"
    cgo: bool = False

    @property
    def folder(self) -> Path:
        return HERE / "go" / self.name

    def programs(self) -> list[str]:
        return [
            self.name if package == "." else package.rpartition("/")[2] for package in self.packages
        ]

    def sources(self) -> list[Path]:
        return sorted(
            path for path in self.folder.iterdir() if path.suffix in {".go", ".mod", ".sum"}
        )

    def command(self, go: str, output: Path) -> list[str]:
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
class Pause:
    """The program that holds a pod's namespaces: one file of C, without a library."""

    name: str = "pause"
    cgo: bool = True

    def programs(self) -> list[str]:
        return ["pause"]

    def sources(self) -> list[Path]:
        return [HERE / "pause" / "pause.c"]

    def command(self, go: str, output: Path) -> list[str]:
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
            str(self.sources()[0]),
        ]

    @property
    def folder(self) -> Path:
        return HERE / "pause"


_CONTAINERD = "github.com/containerd/containerd/v2/cmd"
_KUBE = "k8s.io/kubernetes/cmd"
MODULES: tuple[Module | Pause, ...] = (
    Module(
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
    Module(
        "containerd",
        tuple(f"{_CONTAINERD}/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")),
        tags="no_btrfs,no_devmapper,no_zfs",
    ),
    Module("runc", ("github.com/opencontainers/runc",), tags="seccomp", cgo=True),
    Pause(),
    Module("etcd", (".",)),
    Module("coredns", (".",)),
    Module("kube-network-policies", (".",)),
    Module("helm", ("helm.sh/helm/v4/cmd/helm",), flags=_HELM_FLAGS),
    Module("kwok", ("sigs.k8s.io/kwok/cmd/kwok",)),
)


def default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base).resolve() / "storefleet" / "bare-cluster"


def cached_folder(cache: Path, module: Module | Pause) -> Path:
    """Where the module's programs lie, or will: named by the hash of their sources and of how they are built."""
    digest = hashlib.sha256()
    words = [platform.machine(), *module.command("go", Path("/output")), f"cgo={module.cgo}"]
    digest.update("\0".join(word for word in words if not word.startswith(str(HERE))).encode())
    for source in module.sources():
        content = source.read_bytes()
        digest.update(f"\0{source.name}\0{len(content)}\0".encode() + content)
    return cache / f"{module.name}-{digest.hexdigest()[:16]}"


def missing(cache: Path) -> list[Module | Pause]:
    return [module for module in MODULES if not cached_folder(cache, module).is_dir()]


def programs(cache: Path) -> dict[str, Path]:
    """Each program's name and file."""
    return {
        name: cached_folder(cache, module) / name
        for module in MODULES
        for name in module.programs()
    }


def build(cache: Path) -> list[str]:
    """Builds what the cache lacks; returns the names of what was built."""
    if not missing(cache):
        return []
    cache.mkdir(parents=True, exist_ok=True)
    with files.locked(cache, doing="build"):
        wanted = missing(cache)
        if not wanted:
            return []
        if any(module.cgo for module in wanted):
            debian.install(debian.BUILD)
        go = find_go()
        for module in wanted:
            _build_one(module, go, cache)
    return [module.name for module in wanted]


def _build_one(module: Module | Pause, go: str, cache: Path) -> None:
    began = time.monotonic()
    print(f"bare-cluster: building {', '.join(module.programs())} …", flush=True)
    with temporary(cache, module.name) as output:
        hint = f"It runs in {module.folder}; what is built already stays, so the same command goes on from here."
        command = module.command(go, output)
        commands.run(
            command, timeout=BUILD_TIMEOUT, cwd=module.folder, env=environment(module), hint=hint
        )
        lacking = [name for name in module.programs() if not (output / name).is_file()]
        if lacking:
            raise ClusterError(
                f"`{command[0]} {command[1]}` in {module.folder} made no {', '.join(lacking)}."
            )
        output.rename(cached_folder(cache, module))
    print(f"bare-cluster: built {module.name} in {time.monotonic() - began:.0f} s", flush=True)


@contextlib.contextmanager
def temporary(cache: Path, name: str) -> Iterator[Path]:
    """A folder that becomes the real one by a rename; those of killed builds go first."""
    for old in cache.glob(f".{name}-*"):
        shutil.rmtree(old, ignore_errors=True)
    folder = cache / f".{name}-{secrets.token_hex(4)}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def environment(module: Module | Pause) -> dict[str, str]:
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
    needed = ".".join(map(str, GO_NEEDED))
    found = []
    for go in filter(None, (shutil.which("go"), shutil.which("/usr/local/go/bin/go"))):
        answer = commands.run([go, "version"], env={**os.environ, "GOTOOLCHAIN": "local"})
        version = version_of(answer)
        if version >= GO_NEEDED:
            return go
        found.append(f"{go} is {'.'.join(map(str, version))}")
    have = "; ".join(found) or "none was found on PATH or in /usr/local/go"
    raise ClusterError(
        f"Go {needed} or newer is needed to build the cluster's programs: {have}. Install it, once."
    )


def version_of(answer: str) -> tuple[int, ...]:
    """From `go version go1.26.8 linux/amd64`."""
    words = answer.split()
    text = words[2].removeprefix("go") if len(words) > 2 else ""
    parts = [part for part in text.split(".") if part.isdigit()]
    return tuple(int(part) for part in parts) or (0,)
