"""Benchmark real local stores: time to create and delete one, and to create twenty at once."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.bench import stage
from tests.bench.figures import Sheet
from tests.support.services.platform import ROOT, Platform

PART = "stores"
ALONE, TOGETHER = 5, 20


def measure(runs: int) -> Sheet:
    sheet = Sheet(PART)
    with stage.platform(engines=ROOT / "charts", engine="oscar", stores_per_hour=100_000) as staged:
        for number in range(ALONE):
            name = f"alone-{number}"
            sheet.add(
                "create → ready, alone",
                "s",
                _timed(staged, "POST", "stores", {"name": name}),
                limit=4,
            )
            sheet.add(
                "delete → gone, alone", "s", _timed(staged, "DELETE", f"stores/{name}"), limit=2
            )
        for number in range(runs):
            names = [f"many-{number}-{store}" for store in range(TOGETHER)]
            sheet.add(
                f"{TOGETHER} at once, all ready", "s", _together(staged, names, "POST"), limit=40
            )
            sheet.add("a shop's memory, proportional", "MB", _memory(staged))
            sheet.add(f"{TOGETHER} at once, all gone", "s", _together(staged, names, "DELETE"))
    return sheet


def _timed(staged: Platform, method: str, path: str, body: dict[str, Any] | None = None) -> float:
    """Seconds until the operation has succeeded."""
    began = time.perf_counter()
    operation = stage.call(staged, method, path, body)["operation"]
    while not operation["done"]:
        operation = stage.call(staged, "GET", f"operations/{operation['id']}?wait=60")
    if operation["state"] != "succeeded":
        raise RuntimeError(f"{method} {path} ended {operation['state']}: {operation['error']}")
    return time.perf_counter() - began


def _together(staged: Platform, names: list[str], method: str) -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(len(names)) as pool:
        if method == "POST":
            list(pool.map(lambda name: _timed(staged, "POST", "stores", {"name": name}), names))
        else:
            list(pool.map(lambda name: _timed(staged, "DELETE", f"stores/{name}"), names))
    return time.perf_counter() - began


def _memory(staged: Platform) -> float:
    """The mean over all shops that run, master and worker together."""
    total, shops = 0, 0
    for record in (staged.state_dir / "pids").glob("store-*.json"):
        pid = staged.pid(record.stem)
        if pid is not None:
            shops += 1
            total += sum(stage.proportional(member) for member in (pid, *stage.children(pid)))
    return total / max(1, shops) / 2**20


if __name__ == "__main__":
    from tests.bench.__main__ import alone

    alone(measure)
