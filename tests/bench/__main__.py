"""Run the benchmarks, print a table and write JSON.

Usage: `python -m tests.bench [part …] [--runs N] [--results FOLDER]`.
"""

import argparse
import importlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.figures import RESULTS, Sheet, format_table, write_results

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
    _run_parts(
        [
            importlib.import_module(f"tests.bench.{part}").measure
            for part in _parse_arguments(parser).parts or PARTS
        ],
        parser,
    )


def run_part(measure: Callable[[int], Sheet]) -> None:
    """Run one part; called by the part's own module."""
    _run_parts([measure], argparse.ArgumentParser())


def _parse_arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    if not parser.get_default("runs"):
        parser.add_argument(
            "--runs", type=int, default=RUNS, help=f"runs of each part (default {RUNS})"
        )
        parser.add_argument(
            "--results", type=Path, default=RESULTS, help="folder of the JSON files"
        )
    return parser.parse_args()


def _run_parts(measures: Sequence[Callable[[int], Sheet]], parser: argparse.ArgumentParser) -> None:
    chosen, began, load = _parse_arguments(parser), time.time(), os.getloadavg()
    sheets = []
    for measure in measures:
        sheet = measure(chosen.runs)
        sheets.append(sheet)
        print(
            format_table([sheet]), *(f"  {note}" for note in sheet.notes), "", sep="\n", flush=True
        )
    path = write_results(sheets, chosen.results, began=began, load_before=load)
    if len(sheets) > 1:
        print(format_table(sheets), "", sep="\n")
    print(f"Load before {load[0]:.2f}, after {os.getloadavg()[0]:.2f}; JSON: {path}")


if __name__ == "__main__":
    main()
