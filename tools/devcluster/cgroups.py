"""The cluster's own cgroup in each hierarchy, below which the kubelet keeps all pods."""

import contextlib
import os
from pathlib import Path

from tools.devcluster.errors import ClusterError
from tools.devcluster.layout import Layout
from tools.devcluster.waiting import wait_until

CGROUPS = Path("/sys/fs/cgroup")
PATIENCE = 15.0


def make_cgroups(layout: Layout) -> None:
    """What the kubelet expects to find."""
    if (CGROUPS / "cgroup.controllers").is_file():
        _make_unified(CGROUPS / layout.name)
        return
    for hierarchy in _hierarchies():
        folder = hierarchy / layout.name
        folder.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if (folder / setting).is_file():
                (folder / setting).write_text(
                    (hierarchy / setting).read_text(encoding="ascii"), encoding="ascii"
                )


def _make_unified(folder: Path) -> None:
    controllers = (CGROUPS / "cgroup.controllers").read_text(encoding="ascii").split()
    on = (CGROUPS / "cgroup.subtree_control").read_text(encoding="ascii").split()
    for controller in controllers:
        if controller not in on:
            with contextlib.suppress(
                OSError
            ):  # some cannot be given away; the kubelet says if it needs them
                (CGROUPS / "cgroup.subtree_control").write_text(f"+{controller}", encoding="ascii")
    folder.mkdir(exist_ok=True)


def _hierarchies() -> list[Path]:
    return [path for path in sorted(CGROUPS.iterdir()) if path.is_dir() and not path.is_symlink()]


def remove_cgroups(layout: Layout) -> None:
    """Innermost first; the kernel may need a moment to see that one is empty."""
    roots = [CGROUPS / layout.name, *(hierarchy / layout.name for hierarchy in _hierarchies())]

    def removed() -> bool:
        for root in roots:
            for folder, _, _ in os.walk(root, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
        return not any(root.exists() for root in roots)

    if not wait_until(removed, PATIENCE):
        raise ClusterError(
            f"cgroups {layout.name} in {CGROUPS} are still in use. Run the same command again."
        )
