"""The engine of docs/engines.md: the files that the page shows, as somebody who follows it has them."""

import re
from pathlib import Path

from tests.support.sources import ROOT

PAGE = ROOT / "docs" / "engines.md"
_FILE = re.compile(
    r"(?m)^\*\*`((?:charts|stores)/kiosk/[\w./-]+)`\*\*\n\n```\w*\n(.*?)^```$", re.DOTALL
)


def shown() -> dict[str, str]:
    """Path and content of every file."""
    return dict(_FILE.findall(PAGE.read_text(encoding="utf-8")))


def write(folder: Path) -> Path:
    """All of them, below `folder`; where the charts are."""
    for name, content in shown().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder / "charts"
