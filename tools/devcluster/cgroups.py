"""The cluster's own cgroup in each hierarchy, below which the kubelet keeps all pods."""

import contextlib
import os
from pathlib import Path

from tools.devcluster.errors import ClusterError
from tools.devcluster.layout import Layout
from tools.devcluster.waiting import wait_until

CGROUP_ROOT = Path("/sys/fs/cgroup")
REMOVAL_TIMEOUT_S = 15.0


def create_cgroups(layout: Layout) -> None:
    """What the kubelet expects to find."""
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
    on = (CGROUP_ROOT / "cgroup.subtree_control").read_text(encoding="ascii").split()
    for controller in controllers:
        if controller not in on:
            with contextlib.suppress(
                OSError
            ):  # some cannot be given away; the kubelet says if it needs them
                (CGROUP_ROOT / "cgroup.subtree_control").write_text(
                    f"+{controller}", encoding="ascii"
                )
    folder.mkdir(exist_ok=True)


def _list_hierarchies() -> list[Path]:
    return [
        path for path in sorted(CGROUP_ROOT.iterdir()) if path.is_dir() and not path.is_symlink()
    ]


def remove_cgroups(layout: Layout) -> None:
    """Innermost first; the kernel may need a moment to see that one is empty."""
    roots = [
        CGROUP_ROOT / layout.name,
        *(hierarchy / layout.name for hierarchy in _list_hierarchies()),
    ]

    def removed() -> bool:
        for root in roots:
            for folder, _, _ in os.walk(root, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
        return not any(root.exists() for root in roots)

    if not wait_until(removed, REMOVAL_TIMEOUT_S):
        raise ClusterError(
            f"cgroups {layout.name} in {CGROUP_ROOT} are still in use. Run the same command again."
        )
