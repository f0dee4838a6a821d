"""Locked Python packages as folders: installed with their hashes, without what only developers need."""

import os
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from tools.images.cache import LayerCache
from tools.images.failure import BuildError, run_program

TIMEOUT_S = 900
VENV = Path("opt/storefleet/venv")
SITE_PACKAGES = VENV / "lib/python3.11/site-packages"
PYVENV_CFG = "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11\n"
#: Translations of pages that are shown in English alone.
KEPT_LOCALES = frozenset({"en", "en_US", "__pycache__"})


def create_installer(
    work_folder: Path, cache: LayerCache, *, lock: Path, build_locks: Iterable[Path] = ()
) -> Path:
    """An environment of its own with the locked pip, and with what packages without a wheel are built with."""
    venv = work_folder / "installer"
    what = "the installer of Python packages could not be made"
    run_program(
        (sys.executable, "-m", "venv", venv), failure=what, timeout_s=TIMEOUT_S, log=cache.log
    )
    for requirements in (lock, *build_locks):
        install_wheels(venv, requirements, cache=cache, options=("--upgrade",), failure=what)
    return venv


def install_wheels(
    venv: Path,
    requirements: Path,
    *,
    cache: LayerCache,
    options: tuple[str | Path, ...],
    failure: str,
) -> None:
    run_program(
        (
            *(
                venv / "bin/python",
                "-m",
                "pip",
                "install",
                "--disable-pip-version-check",
                "--no-input",
                "--quiet",
            ),
            *(
                "--require-hashes",
                "--no-build-isolation",
                "--no-compile",
                "--root-user-action=ignore",
                *options,
            ),
            *("-r", requirements),
        ),
        failure=failure,
        timeout_s=TIMEOUT_S,
        environment={
            name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
        },
        log=cache.log,
    )


def create_venv(root: Path, installer_venv: Path, requirements: Path, *, cache: LayerCache) -> Path:
    """An environment at its place in the image, for the image's interpreter; returns the folder of its packages."""
    venv = root / VENV
    options: tuple[str | Path, ...] = ("--ignore-installed", "--prefix", venv)
    install_wheels(
        installer_venv,
        requirements,
        cache=cache,
        options=options,
        failure=f"{requirements} could not be installed",
    )
    (venv / "pyvenv.cfg").write_text(PYVENV_CFG, encoding="ascii")
    for name in ("python", "python3"):
        (venv / "bin" / name).symlink_to("/usr/bin/python3.11")
    own = f"{installer_venv}/bin/python".encode()
    for script in (venv / "bin").iterdir():
        if (
            script.is_file()
            and not script.is_symlink()
            and own in (content := script.read_bytes())[:200]
        ):
            script.write_bytes(re.sub(rb"\A#![^\n]*", f"#!/{VENV}/bin/python".encode(), content))
    return root / SITE_PACKAGES


def remove_matches(packages: Path, patterns: Iterable[str]) -> None:
    """Take files and folders out; a pattern that finds nothing is a mistake in a list."""
    for pattern in patterns:
        found = sorted(packages.glob(pattern))
        if not found:
            raise BuildError(
                f"Nothing in {packages.name} is called {pattern}: correct the list of what is left out."
            )
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def remove_records(packages: Path) -> None:
    """Lists of installed files: they name hashes of this build's paths, and what was left out since."""
    for record in packages.glob("*.dist-info/RECORD"):
        record.unlink()


def remove_translations(packages: Path) -> None:
    for folder in packages.glob("**/locale"):
        for language in folder.iterdir():
            if language.is_dir() and language.name not in KEPT_LOCALES:
                shutil.rmtree(language)


def compile_bytecode(root: Path, *folders: Path, cache: LayerCache) -> None:
    """Byte code beside the sources, for a root that is read only; it names no time, so it is the same every time."""
    options = ("-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "-s", root, "-p", "/")
    run_program(
        (sys.executable, "-m", "compileall", *options, *(root / folder for folder in folders)),
        failure="Python's byte code could not be made",
        timeout_s=TIMEOUT_S,
        log=cache.log,
    )


def extract_lock_entry(lock: Path, package: str) -> str:
    """The part of a lock that is about one package, hashes and all."""
    match = re.search(
        rf"^{re.escape(package)}==.*(?:\n[ \t]+.*)*", lock.read_text(encoding="utf-8"), re.MULTILINE
    )
    if match is None:
        raise BuildError(f"{lock} does not lock {package}: lock it, or correct what is asked for.")
    return match.group(0) + "\n"
