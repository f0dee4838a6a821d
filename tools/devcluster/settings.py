"""What was chosen when the cluster was brought up, kept in its folder."""

from dataclasses import dataclass, replace
from pathlib import Path

from tools.devcluster import files
from tools.devcluster.errors import ClusterError
from tools.devcluster.layout import DEFAULT_BLOCK, NODE_FOLDERS, NODE_RUN, Layout, Network


@dataclass(frozen=True)
class ClusterSettings:
    """The block of addresses, and where requests are logged."""

    block: str = DEFAULT_BLOCK
    audit_log: Path | None = None

    @property
    def network(self) -> Network:
        return Network.parse(self.block)


def read_settings(layout: Layout) -> ClusterSettings:
    found = files.read_json(layout.settings) or {}
    audit_log = found.get("audit_log")
    return ClusterSettings(
        block=found.get("block", DEFAULT_BLOCK), audit_log=Path(audit_log) if audit_log else None
    )


def write_settings(layout: Layout, settings: ClusterSettings) -> None:
    audit_log = str(settings.audit_log) if settings.audit_log else None
    files.write_json(layout.settings, {"block": settings.block, "audit_log": audit_log})


def merge_options(
    current: ClusterSettings, *, block: str | None, audit_log: str | None, exists: bool
) -> ClusterSettings:
    """The options over what is kept; the addresses of a cluster that exists stand in its certificates and data."""
    if block is not None:
        Network.parse(block)
        if exists and block != current.block:
            raise ClusterError(
                f"This cluster has {current.block} already. `bare-cluster reset`, then choose another block."
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
            f"--audit-log {path}: the node has its own {', '.join(map(str, hidden))}. Give another folder."
        )
    if not path.parent.is_dir():
        raise ClusterError(f"--audit-log {path}: there is no folder {path.parent}. Make it first.")
    return path
