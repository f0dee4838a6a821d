"""Install the Debian packages that the cluster needs."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tools.devcluster import commands
from tools.devcluster.errors import ClusterError

#: Needed program or file → Debian package. A name without a slash is searched on PATH.
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


def list_missing_packages(needed: Mapping[str, str]) -> list[str]:
    """List the packages whose programs or files are missing."""
    return sorted({package for name, package in needed.items() if not _is_present(name)})


def _is_present(name: str) -> bool:
    if "/" in name:
        return Path(name).exists()
    return shutil.which(name, path=ADMIN_PATH) is not None


def install_packages(needed: Mapping[str, str]) -> None:
    """Install missing packages with apt-get, without recommended ones."""
    packages = list_missing_packages(needed)
    if not packages:
        return
    if shutil.which("apt-get") is None:
        raise ClusterError(
            f"This machine lacks the programs of the Debian packages {', '.join(packages)}. "
            "Install them and run the command again."
        )
    print(f"bare-cluster: installing {', '.join(packages)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    hint = "Install the packages by hand and run the command again."
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        # Wait for another apt process that holds the lock.
        apt = ["apt-get", "--quiet", "--option=DPkg::Lock::Timeout=120", *command]
        commands.run_command(apt, timeout_s=APT_TIMEOUT_S, env=environment, hint=hint)
    missing = list_missing_packages(needed)
    if missing:
        raise ClusterError(
            f"apt-get installed {', '.join(missing)}, but their programs are still missing. {hint}"
        )
