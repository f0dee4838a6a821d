"""The results of benchmarks: named figures over several runs, as a table and as JSON."""

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / ".storefleet-bench"


@dataclass
class Figure:
    """A value per run; `limit` is the upper (with `least`, the lower) bound of the median."""

    name: str
    unit: str
    limit: float | None = None
    least: bool = False
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def kept(self) -> bool | None:
        """Whether the median is within the limit; None without a limit."""
        if self.limit is None:
            return None
        return self.median >= self.limit if self.least else self.median <= self.limit


class Sheet:
    """The figures of one part, in the order of their first value."""

    def __init__(self, part: str) -> None:
        self.part = part
        self.figures: dict[str, Figure] = {}
        self.notes: list[str] = []

    def add_value(
        self, name: str, unit: str, value: float, *, limit: float | None = None, least: bool = False
    ) -> None:
        figure = self.figures.setdefault(name, Figure(name, unit, limit, least))
        figure.values.append(round(value, 3))

    def add_note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def to_json(self) -> dict[str, Any]:
        figures = [
            {**asdict(figure), "median": figure.median, "kept": figure.kept}
            for figure in self.figures.values()
        ]
        return {"part": self.part, "figures": figures, "notes": self.notes}


def compute_percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of the sorted `values` do not exceed."""
    return values[min(len(values) - 1, max(0, int(len(values) * share + 0.999999) - 1))]


def format_table(sheets: Iterable[Sheet]) -> str:
    """Format median, minimum and maximum of the runs beside the limit."""
    head = ("part", "figure", "median", "min", "max", "runs", "limit", "")
    rows = [head]
    for sheet in sheets:
        for figure in sheet.figures.values():
            bound = (
                ""
                if figure.limit is None
                else f"{'≥' if figure.least else '≤'} {_format_number(figure.limit)}"
            )
            verdict = {None: "", True: "ok", False: "OVER" if not figure.least else "UNDER"}[
                figure.kept
            ]
            rows.append(
                (
                    sheet.part,
                    f"{figure.name} ({figure.unit})",
                    *(
                        _format_number(value)
                        for value in (figure.median, min(figure.values), max(figure.values))
                    ),
                    str(len(figure.values)),
                    bound,
                    verdict,
                )
            )
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join((lines[0], "  ".join("-" * width for width in widths), *lines[1:]))


def write_results(
    sheets: Sequence[Sheet], folder: Path, *, began: float, load_before: tuple[float, float, float]
) -> Path:
    """Write all results to a JSON file and to latest.json; return the path."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "taken_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": round(time.time() - began, 1),
        "machine": describe_machine(),
        "load_before": load_before,
        "load_after": os.getloadavg(),
        "parts": [sheet.to_json() for sheet in sheets],
    }
    text = json.dumps(content, indent=2) + "\n"
    path = folder / f"bench-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.json"
    path.write_text(text, encoding="utf-8")
    (folder / "latest.json").write_text(text, encoding="utf-8")
    return path


def describe_machine() -> dict[str, Any]:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": os.cpu_count(),
        "memory_mb": round(pages / 2**20),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": done.stdout.strip() or None,
    }


def _format_number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.2f}"
