"""Where Debian's packages of other suites are: at the mirrors that this machine's apt knows."""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tools.images.cache import Cache
from tools.images.failure import BuildError, run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
#: Suites without updates for security of their own.
ROLLING = ("sid", "unstable")
TIMEOUT = 600
_MAIN, _SECURITY = "Debian", "Debian-Security"
_HELP = (
    "The image is made of Debian's packages, but apt on this machine knows no mirror of them: run `apt-get update` on "
    "a Debian system, or build by the Dockerfile instead."
)


def sources(suite: str, cache: Cache) -> tuple[str, ...]:
    """Lines of a sources.list for a suite; raises BuildError."""
    known = _known(cache)
    if _MAIN not in known:
        raise BuildError(_HELP)
    signed = f"[signed-by={KEYRING}]"
    lines = [f"deb {signed} {known[_MAIN]} {suite} main"]
    if suite not in ROLLING and _SECURITY in known:
        lines.append(f"deb {signed} {known[_SECURITY]} {suite}-security main")
    return tuple(lines)


def _known(cache: Cache) -> dict[str, str]:
    """The sites by what they are; lists that are missing are fetched once."""
    found = _targets()
    if _MAIN not in found and shutil.which("apt-get"):
        run(
            ("apt-get", "update", "-q"),
            what="apt could not be updated",
            timeout=TIMEOUT,
            log=cache.log,
        )
        found = _targets()
    return found


def _targets() -> dict[str, str]:
    command = ["apt-get", "indextargets", "--format", "$(LABEL) $(SITE)", "Created-By: Packages"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        return {}
    return dict(reversed([line.split(" ", 1) for line in done.stdout.splitlines() if " " in line]))


def fetch(packages: Iterable[str], suite: str, *, target: Path, room: Path, cache: Cache) -> None:
    """Unpack packages of a suite into a folder, as they are: nothing is installed, nothing follows from them."""
    (room / "lists/partial").mkdir(parents=True)
    (room / "cache/archives/partial").mkdir(parents=True)
    (room / "debs").mkdir()
    (room / "sources.list").write_text("\n".join(sources(suite, cache)) + "\n", encoding="utf-8")
    settings = {
        "Dir::Etc::SourceList": room / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Dir::State::Lists": room / "lists",
        "Dir::State::Status": "/dev/null",
        "Dir::Cache": room / "cache",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    what = f"packages of Debian {suite} could not be fetched"
    apt = ("apt-get", *options, "-q")
    run((*apt, "update"), what=what, timeout=TIMEOUT, log=cache.log, folder=room / "debs")
    run(
        (*apt, "download", *packages),
        what=what,
        timeout=TIMEOUT,
        log=cache.log,
        folder=room / "debs",
    )
    for package in sorted((room / "debs").glob("*.deb")):
        run(
            ("dpkg-deb", "-x", package, target),
            what="a package cannot be unpacked",
            timeout=TIMEOUT,
            log=cache.log,
        )
