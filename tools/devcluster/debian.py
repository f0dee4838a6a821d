"""Debian packages that the cluster needs, installed when what they bring is missing."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tools.devcluster import commands
from tools.devcluster.errors import ClusterError

#: What has to be there → the package that brings it. A name without a slash is looked for on PATH.
RUNTIME_PACKAGES: Mapping[str, str] = {
    "openssl": "openssl",
    "ip": "iproute2",
    "nft": "nftables",
    "iptables": "iptables",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
}
BUILD_PACKAGES: Mapping[str, str] = {
    "gcc": "gcc",
    "pkg-config": "pkg-config",
    "/usr/include/stdlib.h": "libc6-dev",
    "/usr/include/seccomp.h": "libseccomp-dev",
}
ADMIN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
APT_TIMEOUT_S = 600


def list_missing_packages(wanted: Mapping[str, str]) -> list[str]:
    """The packages whose things are not there."""
    return sorted({package for thing, package in wanted.items() if not _is_present(thing)})


def _is_present(thing: str) -> bool:
    return (
        Path(thing).exists() if "/" in thing else shutil.which(thing, path=ADMIN_PATH) is not None
    )


def install_packages(wanted: Mapping[str, str]) -> None:
    """Installs what is lacking, and nothing recommended besides."""
    packages = list_missing_packages(wanted)
    if not packages:
        return
    if shutil.which("apt-get") is None:
        raise ClusterError(
            f"This machine lacks what Debian calls {', '.join(packages)}: install that, then try again."
        )
    print(f"bare-cluster: installing {', '.join(packages)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    hint = "Install the packages by hand, then try again."
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        # Another apt may be at work; it waits for that one.
        apt = ["apt-get", "--quiet", "--option=DPkg::Lock::Timeout=120", *command]
        commands.run_command(apt, timeout_s=APT_TIMEOUT_S, env=environment, hint=hint)
    still = list_missing_packages(wanted)
    if still:
        raise ClusterError(
            f"apt-get installed {', '.join(still)}, but what they should bring is not there. {hint}"
        )
