"""The files of the engine that docs/engines.md adds, extracted from the page."""

import re
from pathlib import Path

from tests.support.documents.sources import ROOT

PAGE = ROOT / "docs" / "engines.md"
_FILE = re.compile(
    r"(?m)^\*\*`((?:charts|stores)/kiosk/[\w./-]+)`\*\*\n\n```\w*\n(.*?)^```$", re.DOTALL
)


def read_files() -> dict[str, str]:
    """Return path and content of every file on the page."""
    return dict(_FILE.findall(PAGE.read_text(encoding="utf-8")))


def write_files(folder: Path) -> Path:
    """Write all files below `folder` and return the folder of the charts."""
    for name, content in read_files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder / "charts"
