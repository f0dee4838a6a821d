"""Stop a cluster, and remove it with all of its data."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from tools.devcluster import files, settings
from tools.devcluster.errors import ClusterError
from tools.devcluster.layout import Layout
from tools.devcluster.node import cgroups, control, link, processes


def stop_cluster(layout: Layout) -> str:
    """Stop every process and remove link and cgroups; data, images and certificates stay."""
    with _lock_state(layout):
        was_up = _end_cluster(layout)
    return "stopped" if was_up else "was not running"


def remove_cluster(layout: Layout) -> str:
    """Stop the cluster and remove its folder."""
    if layout.state.exists() and not layout.settings.is_file() and any(layout.state.iterdir()):
        raise ClusterError(
            f"{layout.state} does not look like a cluster's folder, so it is not removed. "
            "Check --state."
        )
    with _lock_state(layout):
        _end_cluster(layout)
        for path in _list_removable(layout.state):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        # Last, because it marks the folder as a cluster's.
        layout.settings.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            layout.state.rmdir()
    return "removed"


def _list_removable(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.name != "settings.json"]


def _end_cluster(layout: Layout) -> bool:
    was_up = processes.end_node(layout)
    link.detach_link(layout, settings.read_settings(layout).network)
    cgroups.remove_cgroups(layout)
    (layout.state / control.SOCKET_NAME).unlink(missing_ok=True)
    return was_up


@contextlib.contextmanager
def _lock_state(layout: Layout) -> Iterator[None]:
    """Lock the state folder if it exists; processes are found even if it was removed."""
    if not layout.state.is_dir():
        yield
        return
    with files.lock_folder(layout.state, purpose="stop the cluster"):
        yield
