"""Benchmark the first start in a fresh clone, and a later start."""

import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from tests.bench.figures import Sheet
from tests.support.services.platform import ROOT, Platform

PART = "start"
LATER = 5


def measure(runs: int) -> Sheet:
    sheet = Sheet(PART)
    sheet.add_note("pip, uv and npm use their download caches.")
    for _ in range(min(runs, 2)):
        folder = Path(tempfile.mkdtemp(prefix="storefleet-bench-"))
        try:
            clone = folder / "clone"
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
            sheet.add_value("make up in a fresh clone", "s", _time_start(clone), limit=150)
            for _ in range(LATER):
                sheet.add_value("a later make up", "s", _time_start(clone), limit=6)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return sheet


def _time_start(clone: Path) -> float:
    """Run `make up` until it is ready, stop it, and return the seconds until then."""
    ready = clone / ".storefleet" / "admin.json"
    ready.unlink(missing_ok=True)
    ports = Platform(clone / ".storefleet").environment
    began = time.perf_counter()
    process = subprocess.Popen(
        ["make", "up"],
        cwd=clone,
        env={
            name: value
            for name, value in ports.items()
            if not name.endswith(("ENGINES_PATH", "DEFAULT_ENGINE"))
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not ready.exists():
            if process.poll() is not None or time.perf_counter() - began > 600:
                raise RuntimeError("`make up` failed.")
            time.sleep(0.02)
        return time.perf_counter() - began
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


if __name__ == "__main__":
    from tests.bench.__main__ import run_part

    run_part(measure)
