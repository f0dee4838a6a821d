"""The shell scripts pass shellcheck and print their help."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.documents.sources import ROOT

COMMANDS = ("setup-kind.sh", "setup-k3s.sh", "seed-stores.sh", "platform-backup")
SCRIPTS = [
    *(ROOT / "scripts").glob("*.sh"),
    *(ROOT / "scripts" / "setup").glob("*.sh"),
    ROOT / "scripts" / "platform-backup",
    ROOT / "tools" / "which-cluster",
    ROOT / ".ci" / "run",
]


def test_script_passes_shellcheck() -> None:
    shellcheck = Path(sys.executable).parent / "shellcheck"
    done = subprocess.run(
        [shellcheck, *SCRIPTS], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_script_prints_help(name: str) -> None:
    script = ROOT / "scripts" / name
    done = subprocess.run(
        [script, "--help"], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0
    assert f"Usage: scripts/{name}" in done.stdout
    assert "--dry-run" in done.stdout
    assert "set -euo pipefail" in script.read_text(encoding="utf-8")
