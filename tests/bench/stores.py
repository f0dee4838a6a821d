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
    with stage.run_platform(
        engines=ROOT / "charts", engine="oscar", stores_per_hour=100_000
    ) as staged:
        for number in range(ALONE):
            name = f"alone-{number}"
            sheet.add_value(
                "create → ready, alone",
                "s",
                _time_operation(staged, "POST", "stores", {"name": name}),
                limit=4,
            )
            sheet.add_value(
                "delete → gone, alone",
                "s",
                _time_operation(staged, "DELETE", f"stores/{name}"),
                limit=2,
            )
        for number in range(runs):
            names = [f"many-{number}-{store}" for store in range(TOGETHER)]
            sheet.add_value(
                f"{TOGETHER} at once, all ready",
                "s",
                _time_operations(staged, names, "POST"),
                limit=40,
            )
            sheet.add_value("memory of a store, proportional", "MB", _get_mean_memory_mb(staged))
            sheet.add_value(
                f"{TOGETHER} at once, all gone", "s", _time_operations(staged, names, "DELETE")
            )
    return sheet


def _time_operation(
    staged: Platform, method: str, path: str, body: dict[str, Any] | None = None
) -> float:
    """Request an operation; return the seconds until it succeeded."""
    began = time.perf_counter()
    operation = stage.call_as_operator(staged, method, path, body)["operation"]
    while not operation["done"]:
        operation = stage.call_as_operator(staged, "GET", f"operations/{operation['id']}?wait=60")
    if operation["state"] != "succeeded":
        raise RuntimeError(f"{method} {path} ended {operation['state']}: {operation['error']}")
    return time.perf_counter() - began


def _time_operations(staged: Platform, names: list[str], method: str) -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(len(names)) as pool:
        if method == "POST":
            list(
                pool.map(
                    lambda name: _time_operation(staged, "POST", "stores", {"name": name}), names
                )
            )
        else:
            list(pool.map(lambda name: _time_operation(staged, "DELETE", f"stores/{name}"), names))
    return time.perf_counter() - began


def _get_mean_memory_mb(staged: Platform) -> float:
    """Return the mean PSS of the running stores, each with its worker processes."""
    total, stores = 0, 0
    for record in (staged.state_dir / "pids").glob("store-*.json"):
        pid = staged.pid(record.stem)
        if pid is not None:
            stores += 1
            total += sum(
                stage.get_proportional_bytes(member)
                for member in (pid, *stage.list_descendants(pid))
            )
    return total / max(1, stores) / 2**20


if __name__ == "__main__":
    from tests.bench.__main__ import run_part

    run_part(measure)
