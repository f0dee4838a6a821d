"""Build the virtual environment of an engine from its lock files."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from storefleet.node.node_error import NodeError
from storefleet.node.processes.launcher import ChildProcess, read_last_line, run_to_completion

INSTALL_TIMEOUT_S = 900.0
#: Test code and data tables that a running store does not import; compiling them would double the
#: time of this step.
NOT_COMPILED = r"/(tests?|testing|faker|geodata|carrierdata|tzdata)/"


async def build_venv(
    engine_name: str,
    folder: Path,
    *,
    lock_files: Sequence[Path],
    source_dir: Path,
    records_dir: Path,
    log_file: Path,
) -> None:
    """Build a virtual environment with locked packages; an existing one is replaced.

    Args:
        engine_name: The name of the engine, for the process records and error texts.
        folder: The folder that receives `venv`.
        lock_files: The lock files with hashes, in the order of their installation.
        source_dir: The engine's source, which is compiled together with the packages.
        records_dir: The folder of the process records.
        log_file: The log of the installation.

    Raises:
        NodeError: The packages cannot be installed.
        TimeoutError: A step took more than 15 minutes.
    """
    venv = folder / "venv"
    python = str(venv / "bin" / "python")
    shutil.rmtree(venv, ignore_errors=True)

    async def run(step: str, *argv: str) -> bool:
        child = ChildProcess(
            name=f"engine-{engine_name}-{step}",
            argv=argv,
            cwd=folder,
            log_file=log_file,
            env=_copy_caller_environment(),  # with the caller's package index, proxy and cache
            umask=0o022,
        )
        code = await run_to_completion(child, records_dir=records_dir, timeout_s=INSTALL_TIMEOUT_S)
        return code == 0

    async def install(lock_file: Path) -> bool:
        for installer in _make_installers(python):
            if await run("install", *installer, "-r", str(lock_file)):
                return True
        return False

    is_built = await run("venv", sys.executable, "-m", "venv", "--without-pip", str(venv))
    for lock_file in lock_files:
        is_built = is_built and await install(lock_file)
    if not is_built:
        raise NodeError(
            f"The packages of the engine {engine_name} cannot be installed: "
            f"{read_last_line(log_file)}. Read the log {log_file}."
        )
    # uv links files from its cache, with the modes that they have there. The sandbox script does
    # not search PATH, so the program needs its path.
    await run("modes", "/bin/chmod", "-R", "a+rX", str(venv))
    # Failures are ignored: a package may contain files for other Python versions.
    options = ("-q", "-j", "0", "-x", NOT_COMPILED)
    await run("compile", python, "-m", "compileall", *options, str(venv / "lib"), str(source_dir))


def _make_installers(python: str) -> list[tuple[str, ...]]:
    """Make the install commands in the order in which they are tried.

    uv is several times faster but does not read pip's configuration; pip is the fallback.
    """
    options = ("--quiet", "--require-hashes", "--no-build-isolation")
    uv = (sys.executable, "-m", "uv", "pip", "install", "--python", python, *options)
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    pip_options = ("--no-input", "--no-compile", "--root-user-action=ignore", *options)
    is_uv_installed = importlib.util.find_spec("uv") is not None
    return [*([uv] if is_uv_installed else []), (*pip, "install", *pip_options)]


def _copy_caller_environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("STOREFLEET_", "PYTHON"))
    }
