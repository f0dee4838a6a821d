"""Run the benchmarks, print a table and write JSON.

Usage: `python -m tests.bench [part …] [--runs N] [--results FOLDER]`.
"""

import argparse
import importlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.figures import RESULTS, Sheet, table, write

PARTS = ("latency", "sockets", "idle", "stores", "start")
ELSEWHERE = ("cluster", "engines", "scale")  # need more than this machine as it is
RUNS = 3


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Measure speed and size."
    )
    parser.add_argument(
        "parts",
        nargs="*",
        choices=[*PARTS, *ELSEWHERE, []],
        help="parts to measure; all when none is named",
    )
    _run(
        [
            importlib.import_module(f"tests.bench.{part}").measure
            for part in _chosen(parser).parts or PARTS
        ],
        parser,
    )


def alone(measure: Callable[[int], Sheet]) -> None:
    """The entry of one part's module."""
    _run([measure], argparse.ArgumentParser())


def _chosen(parser: argparse.ArgumentParser) -> argparse.Namespace:
    if not parser.get_default("runs"):
        parser.add_argument(
            "--runs", type=int, default=RUNS, help=f"runs of each part (default {RUNS})"
        )
        parser.add_argument(
            "--results", type=Path, default=RESULTS, help="folder of the JSON files"
        )
    return parser.parse_args()


def _run(measures: Sequence[Callable[[int], Sheet]], parser: argparse.ArgumentParser) -> None:
    chosen, began, load = _chosen(parser), time.time(), os.getloadavg()
    sheets = []
    for measure in measures:
        sheet = measure(chosen.runs)
        sheets.append(sheet)
        print(table([sheet]), *(f"  {note}" for note in sheet.notes), "", sep="\n", flush=True)
    path = write(sheets, chosen.results, began=began, load_before=load)
    if len(sheets) > 1:
        print(table(sheets), "", sep="\n")
    print(f"Load before {load[0]:.2f}, after {os.getloadavg()[0]:.2f}; JSON: {path}")


if __name__ == "__main__":
    main()
