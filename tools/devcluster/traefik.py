"""Traefik, built without the well over a hundred libraries of DNS providers that it could get certificates by.

They come with one package of one of its modules, lego. So lego is taken without that package, its source checked
against the sum below, and a package of ours that knows no provider stands in its place.
"""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.devcluster import builds, commands, files
from tools.devcluster.errors import ClusterError

LEGO = "github.com/go-acme/lego/v5@v5.4.1"
LEGO_SUM = "h1:Jt6xAP9xQrJ3SLLGgxejfDDd3pzdrmuLCWe4oTqHHQc="
LEGO_PACKAGES = (
    *("acme", "certcrypto", "certificate", "challenge", "lego", "log", "platform", "registration"),
    *(f"internal/{name}" for name in ("dnspersist", "errutils", "ptr", "useragent", "wait")),
)
GATEWAY_API = "sigs.k8s.io/gateway-api@v1.6.1"
GATEWAY_API_SUM = "h1:mock6phZbI6rvZerwrVNk7hVNymQgHo+6sJ81Ia7ftY="
DEFINITIONS = "gateway-api"


@dataclass(frozen=True)
class Traefik(builds.GoModule):
    """One module of ours, with the modules beside it that stand for others."""

    def sources(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())


MODULE = Traefik("traefik", ("github.com/traefik/traefik/v3/cmd/traefik",))


def get_traefik_folder(cache: Path) -> Path:
    """The program, and beside it the definitions of the Gateway API that it knows; built when they are not there."""
    target = builds.get_cached_folder(cache, MODULE)
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with files.lock_folder(cache, purpose="build"):
        if not target.is_dir():
            _build(builds.find_go(), cache, target)
    return target


def _build(go: str, cache: Path, target: Path) -> None:
    began = time.monotonic()
    print("bare-cluster: building traefik, which takes some minutes …", flush=True)
    with builds.create_temporary_folder(cache, MODULE.name) as room:
        source, output = room / "source", room / "output"
        output.mkdir()
        shutil.copytree(MODULE.folder, source)
        _put_lego(_module(go, room, LEGO, LEGO_SUM), source / "lego")
        environment = builds.make_environment(MODULE)
        hint = "What was downloaded stays, so the same command goes on from there."
        commands.run_command(
            MODULE.make_command(go, output),
            timeout_s=builds.BUILD_TIMEOUT_S,
            cwd=source,
            env=environment,
            hint=hint,
        )
        api = _module(go, room, GATEWAY_API, GATEWAY_API_SUM)
        shutil.copytree(api / "config" / "crd" / "standard", output / DEFINITIONS)
        output.rename(target)
    print(f"bare-cluster: built traefik in {time.monotonic() - began:.0f} s", flush=True)


def _put_lego(lego: Path, target: Path) -> None:
    for package in LEGO_PACKAGES:
        shutil.copytree(
            lego / package,
            target / package,
            ignore=shutil.ignore_patterns("*_test.go", "testdata", "fixtures"),
        )


def _module(go: str, room: Path, name: str, total: str) -> Path:
    """Where Go keeps the module's source, which has to have this sum."""
    nowhere = room / "nowhere"  # outside of every module, so that it is this version that counts
    nowhere.mkdir(exist_ok=True)
    environment = builds.make_environment(MODULE) | {"GOFLAGS": "-mod=mod"}
    answer = commands.run_command(
        [go, "mod", "download", "-json", name], timeout_s=600, cwd=nowhere, env=environment
    )
    found: dict[str, Any] = json.loads(answer[answer.index("{") :])
    if found.get("Sum") != total:
        raise ClusterError(
            f"The source of {name} has the sum {found.get('Sum')}, not {total}: it is not used."
        )
    return Path(found["Dir"])
