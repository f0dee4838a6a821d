"""Locked Python packages as folders: installed with their hashes, without what only developers need."""

import os
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from tools.images.cache import Cache
from tools.images.failure import BuildError, run

TIMEOUT = 900
VENV = Path("opt/storefleet/venv")
PACKAGES = VENV / "lib/python3.11/site-packages"
PYVENV = "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11\n"
#: Translations of pages that are shown in English alone.
KEPT_LOCALES = frozenset({"en", "en_US", "__pycache__"})


def installer(room: Path, cache: Cache, *, lock: Path, more: Iterable[Path] = ()) -> Path:
    """An environment of its own with the locked pip, and with what packages without a wheel are built with."""
    venv = room / "installer"
    what = "the installer of Python packages could not be made"
    run((sys.executable, "-m", "venv", venv), what=what, timeout=TIMEOUT, log=cache.log)
    for requirements in (lock, *more):
        install(venv, requirements, cache=cache, options=("--upgrade",), what=what)
    return venv


def install(
    venv: Path, requirements: Path, *, cache: Cache, options: tuple[str | Path, ...], what: str
) -> None:
    run(
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
        what=what,
        timeout=TIMEOUT,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        log=cache.log,
    )


def make_venv(root: Path, installer_venv: Path, requirements: Path, *, cache: Cache) -> Path:
    """An environment at its place in the image, for the image's interpreter; returns the folder of its packages."""
    venv = root / VENV
    options: tuple[str | Path, ...] = ("--ignore-installed", "--prefix", venv)
    install(
        installer_venv,
        requirements,
        cache=cache,
        options=options,
        what=f"{requirements} could not be installed",
    )
    (venv / "pyvenv.cfg").write_text(PYVENV, encoding="ascii")
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
    return root / PACKAGES


def remove(packages: Path, patterns: Iterable[str]) -> None:
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


def compile_all(root: Path, *folders: Path, cache: Cache) -> None:
    """Byte code beside the sources, for a root that is read only; it names no time, so it is the same every time."""
    options = ("-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "-s", root, "-p", "/")
    run(
        (sys.executable, "-m", "compileall", *options, *(root / folder for folder in folders)),
        what="Python's byte code could not be made",
        timeout=TIMEOUT,
        log=cache.log,
    )


def lines_of(lock: Path, package: str) -> str:
    """The part of a lock that is about one package, hashes and all."""
    match = re.search(
        rf"^{re.escape(package)}==.*(?:\n[ \t]+.*)*", lock.read_text(encoding="utf-8"), re.MULTILINE
    )
    if match is None:
        raise BuildError(f"{lock} does not lock {package}: lock it, or correct what is asked for.")
    return match.group(0) + "\n"
