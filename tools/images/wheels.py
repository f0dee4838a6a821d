"""Install locked Python packages into folders, and remove what a container does not need."""

import os
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from tools.images.cache import LayerCache
from tools.images.errors import BuildError
from tools.images.programs import run_program

TIMEOUT_S = 900
VENV = Path("opt/storefleet/venv")
SITE_PACKAGES = VENV / "lib/python3.11/site-packages"
PYVENV_CFG = "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11\n"
#: The pages are English only; other translations are removed.
KEPT_LOCALES = frozenset({"en", "en_US", "__pycache__"})


def create_installer(
    work_folder: Path, cache: LayerCache, *, lock: Path, build_locks: Iterable[Path] = ()
) -> Path:
    """Create a virtual environment with the locked pip.

    `build_locks` are build dependencies of packages that have no wheel.
    """
    venv = work_folder / "installer"
    failure = "The virtual environment with pip could not be created"
    run_program(
        (sys.executable, "-m", "venv", venv), failure=failure, timeout_s=TIMEOUT_S, log=cache.log
    )
    for requirements in (lock, *build_locks):
        install_wheels(venv, requirements, cache=cache, options=("--upgrade",), failure=failure)
    return venv


def install_wheels(
    venv: Path,
    requirements: Path,
    *,
    cache: LayerCache,
    options: tuple[str | Path, ...],
    failure: str,
) -> None:
    """Install a lock with pip, verifying hashes; `options` select the target folder."""
    common = (
        "--disable-pip-version-check",
        "--no-input",
        "--quiet",
        "--require-hashes",
        "--no-build-isolation",
        "--no-compile",
        "--root-user-action=ignore",
    )
    run_program(
        (venv / "bin/python", "-m", "pip", "install", *common, *options, "-r", requirements),
        failure=failure,
        timeout_s=TIMEOUT_S,
        environment={
            name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
        },
        log=cache.log,
    )


def create_venv(root: Path, installer_venv: Path, requirements: Path, *, cache: LayerCache) -> Path:
    """Create the virtual environment for the image's interpreter; return its site-packages."""
    venv = root / VENV
    options: tuple[str | Path, ...] = ("--ignore-installed", "--prefix", venv)
    install_wheels(
        installer_venv,
        requirements,
        cache=cache,
        options=options,
        failure=f"The packages of {requirements} could not be installed",
    )
    (venv / "pyvenv.cfg").write_text(PYVENV_CFG, encoding="ascii")
    for name in ("python", "python3"):
        (venv / "bin" / name).symlink_to("/usr/bin/python3.11")
    interpreter = f"{installer_venv}/bin/python".encode()
    for script in (venv / "bin").iterdir():
        if (
            script.is_file()
            and not script.is_symlink()
            and interpreter in (content := script.read_bytes())[:200]
        ):
            script.write_bytes(re.sub(rb"\A#![^\n]*", f"#!/{VENV}/bin/python".encode(), content))
    return root / SITE_PACKAGES


def remove_matches(packages: Path, patterns: Iterable[str]) -> None:
    """Remove files and folders; raise BuildError for a pattern without a match."""
    for pattern in patterns:
        found = sorted(packages.glob(pattern))
        if not found:
            raise BuildError(
                f"The pattern {pattern} matches nothing in {packages.name}. "
                "Correct the list of excluded files."
            )
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def remove_records(packages: Path) -> None:
    """Remove the RECORD files: they contain hashes of build paths and list removed files."""
    for record in packages.glob("*.dist-info/RECORD"):
        record.unlink()


def remove_translations(packages: Path) -> None:
    """Remove the translations of all languages but English."""
    for folder in packages.glob("**/locale"):
        for language in folder.iterdir():
            if language.is_dir() and language.name not in KEPT_LOCALES:
                shutil.rmtree(language)


def compile_bytecode(root: Path, *folders: Path, cache: LayerCache) -> None:
    """Compile byte code for a read-only root file system; it is reproducible (hash-based)."""
    options = ("-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "-s", root, "-p", "/")
    run_program(
        (sys.executable, "-m", "compileall", *options, *(root / folder for folder in folders)),
        failure="The Python byte code could not be compiled",
        timeout_s=TIMEOUT_S,
        log=cache.log,
    )


def extract_lock_entry(lock: Path, package: str) -> str:
    """Extract the entry of one package, with its hashes, from a lock."""
    match = re.search(
        rf"^{re.escape(package)}==.*(?:\n[ \t]+.*)*", lock.read_text(encoding="utf-8"), re.MULTILINE
    )
    if match is None:
        raise BuildError(f"{lock} does not lock {package}. Add it to the lock.")
    return match.group(0) + "\n"
