"""The options of `bare-cluster up` that a cluster keeps across restarts."""

from dataclasses import dataclass, replace
from pathlib import Path

from tools.devcluster import files
from tools.devcluster.errors import ClusterError
from tools.devcluster.layout import DEFAULT_BLOCK, NODE_FOLDERS, NODE_RUN, Layout, Network


@dataclass(frozen=True)
class ClusterSettings:
    """The block of addresses and the file of the audit log."""

    block: str = DEFAULT_BLOCK
    audit_log: Path | None = None

    @property
    def network(self) -> Network:
        """The addresses of the block."""
        return Network.parse(self.block)


def read_settings(layout: Layout) -> ClusterSettings:
    """Read the settings; return the defaults before the first start."""
    found = files.read_json(layout.settings) or {}
    audit_log = found.get("audit_log")
    return ClusterSettings(
        block=found.get("block", DEFAULT_BLOCK), audit_log=Path(audit_log) if audit_log else None
    )


def write_settings(layout: Layout, settings: ClusterSettings) -> None:
    """Write the settings to the state folder."""
    audit_log = str(settings.audit_log) if settings.audit_log else None
    files.write_json(layout.settings, {"block": settings.block, "audit_log": audit_log})


def merge_options(
    current: ClusterSettings, *, block: str | None, audit_log: str | None, exists: bool
) -> ClusterSettings:
    """Apply command-line options to the current settings; None keeps a setting.

    The addresses of an existing cluster cannot change: its certificates and data contain them.
    """
    if block is not None:
        Network.parse(block)
        if exists and block != current.block:
            raise ClusterError(
                f"This cluster uses {current.block} already. To choose another block, run "
                "`bare-cluster reset` first."
            )
        current = replace(current, block=block)
    if audit_log is not None:
        current = replace(current, audit_log=_check_audit_log(audit_log) if audit_log else None)
    return current


def _check_audit_log(audit_log: str) -> Path:
    path = Path(audit_log).resolve()
    hidden = (*NODE_FOLDERS.values(), NODE_RUN)
    if any(path.is_relative_to(folder) for folder in hidden):
        raise ClusterError(
            f"--audit-log {path}: the node has its own {', '.join(map(str, hidden))}. "
            "Choose another folder."
        )
    if not path.parent.is_dir():
        raise ClusterError(
            f"--audit-log {path}: the folder {path.parent} does not exist. Create it first."
        )
    return path
