"""Failpoints: inert by default, fire once when armed, visits are recorded."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
from storefleet.observability.failpoints import effect
with effect("first"):
    print("first", flush=True)
with effect("second"):
    print("second", flush=True)
"""


def run(**variables: Path) -> subprocess.CompletedProcess[str]:
    env = {f"STOREFLEET_FAILPOINT_{name.upper()}": str(value) for name, value in variables.items()}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_unarmed_failpoint_does_nothing() -> None:
    done = run()
    assert (done.returncode, done.stdout) == (0, "first\nsecond\n")


def test_visited_failpoints_are_recorded(tmp_path: Path) -> None:
    assert run(log=tmp_path / "log").returncode == 0
    assert (tmp_path / "log").read_text().splitlines() == [
        *("first:before", "first:after", "second:before", "second:after")
    ]


@pytest.mark.parametrize(
    ("point", "printed"),
    [
        ("first:before", ""),
        ("first:after", "first\n"),
        ("second:before", "first\n"),
        ("second:after", "first\nsecond\n"),
    ],
)
def test_armed_failpoint_kills_once(tmp_path: Path, point: str, printed: str) -> None:
    (tmp_path / "armed").write_text(f"{point}\n")
    killed = run(file=tmp_path / "armed")
    assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, printed)
    assert not (tmp_path / "armed").exists()
    assert run(file=tmp_path / "armed").returncode == 0


def test_other_failpoint_stays_armed(tmp_path: Path) -> None:
    (tmp_path / "armed").write_text("third:before")
    assert run(file=tmp_path / "armed").returncode == 0
    assert (tmp_path / "armed").exists()
