"""Find Debian mirrors in the configuration of this machine's apt, and unpack packages from them."""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tools.images.cache import LayerCache
from tools.images.errors import BuildError
from tools.images.programs import run_program

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
#: Suites without a separate suite of security updates.
ROLLING = ("sid", "unstable")
TIMEOUT_S = 600
_MAIN, _SECURITY = "Debian", "Debian-Security"
_HELP = (
    "The image consists of Debian packages, but apt on this machine has no Debian mirror. Run "
    "`apt-get update` on a Debian system, or build from the Dockerfile."
)


def list_sources(suite: str, cache: LayerCache) -> tuple[str, ...]:
    """List the lines of a sources.list for a suite; raise BuildError without a mirror."""
    known = _find_mirrors(cache)
    if _MAIN not in known:
        raise BuildError(_HELP)
    signed = f"[signed-by={KEYRING}]"
    lines = [f"deb {signed} {known[_MAIN]} {suite} main"]
    if suite not in ROLLING and _SECURITY in known:
        lines.append(f"deb {signed} {known[_SECURITY]} {suite}-security main")
    return tuple(lines)


def _find_mirrors(cache: LayerCache) -> dict[str, str]:
    """Map the label of an archive to its address; update missing package lists once."""
    found = _read_index_targets()
    if _MAIN not in found and shutil.which("apt-get"):
        run_program(
            ("apt-get", "update", "-q"),
            failure="The package lists of apt could not be updated",
            timeout_s=TIMEOUT_S,
            log=cache.log,
        )
        found = _read_index_targets()
    return found


def _read_index_targets() -> dict[str, str]:
    command = ["apt-get", "indextargets", "--format", "$(LABEL) $(SITE)", "Created-By: Packages"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        return {}
    return dict(reversed([line.split(" ", 1) for line in done.stdout.splitlines() if " " in line]))


def unpack_packages(
    packages: Iterable[str], suite: str, *, target: Path, work_folder: Path, cache: LayerCache
) -> None:
    """Unpack packages of a suite into a folder, without dependencies or maintainer scripts."""
    (work_folder / "lists/partial").mkdir(parents=True)
    (work_folder / "cache/archives/partial").mkdir(parents=True)
    (work_folder / "debs").mkdir()
    (work_folder / "sources.list").write_text(
        "\n".join(list_sources(suite, cache)) + "\n", encoding="utf-8"
    )
    settings = {
        "Dir::Etc::SourceList": work_folder / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Dir::State::Lists": work_folder / "lists",
        "Dir::State::Status": "/dev/null",
        "Dir::Cache": work_folder / "cache",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    failure = f"The packages of Debian {suite} could not be downloaded"
    apt = ("apt-get", *options, "-q")
    run_program(
        (*apt, "update"),
        failure=failure,
        timeout_s=TIMEOUT_S,
        log=cache.log,
        folder=work_folder / "debs",
    )
    run_program(
        (*apt, "download", *packages),
        failure=failure,
        timeout_s=TIMEOUT_S,
        log=cache.log,
        folder=work_folder / "debs",
    )
    for package in sorted((work_folder / "debs").glob("*.deb")):
        run_program(
            ("dpkg-deb", "-x", package, target),
            failure="A Debian package could not be unpacked",
            timeout_s=TIMEOUT_S,
            log=cache.log,
        )
