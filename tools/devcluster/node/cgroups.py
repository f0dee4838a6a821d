"""Create and remove the cluster's cgroup, below which the kubelet puts all pods."""

import contextlib
import os
from pathlib import Path

from tools.devcluster.errors import ClusterError
from tools.devcluster.layout import Layout
from tools.devcluster.waiting import wait_until

CGROUP_ROOT = Path("/sys/fs/cgroup")
REMOVAL_TIMEOUT_S = 15.0


def create_cgroups(layout: Layout) -> None:
    """Create the cgroup in the unified hierarchy, or in each hierarchy of version 1."""
    if (CGROUP_ROOT / "cgroup.controllers").is_file():
        _create_unified_cgroup(CGROUP_ROOT / layout.name)
        return
    for hierarchy in _list_hierarchies():
        folder = hierarchy / layout.name
        folder.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if (folder / setting).is_file():
                (folder / setting).write_text(
                    (hierarchy / setting).read_text(encoding="ascii"), encoding="ascii"
                )


def _create_unified_cgroup(folder: Path) -> None:
    controllers = (CGROUP_ROOT / "cgroup.controllers").read_text(encoding="ascii").split()
    enabled = (CGROUP_ROOT / "cgroup.subtree_control").read_text(encoding="ascii").split()
    for controller in controllers:
        if controller not in enabled:
            # Some controllers cannot be delegated; the kubelet reports those that it needs.
            with contextlib.suppress(OSError):
                (CGROUP_ROOT / "cgroup.subtree_control").write_text(
                    f"+{controller}", encoding="ascii"
                )
    folder.mkdir(exist_ok=True)


def _list_hierarchies() -> list[Path]:
    return [
        path for path in sorted(CGROUP_ROOT.iterdir()) if path.is_dir() and not path.is_symlink()
    ]


def remove_cgroups(layout: Layout) -> None:
    """Remove the cgroups, innermost first; the kernel needs a moment to see that they are empty."""
    roots = [
        CGROUP_ROOT / layout.name,
        *(hierarchy / layout.name for hierarchy in _list_hierarchies()),
    ]

    def are_removed() -> bool:
        for root in roots:
            for folder, _, _ in os.walk(root, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
        return not any(root.exists() for root in roots)

    if not wait_until(are_removed, REMOVAL_TIMEOUT_S):
        raise ClusterError(
            f"The cgroups {layout.name} in {CGROUP_ROOT} are still in use. Run the command again."
        )
