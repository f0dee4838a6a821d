"""Benchmark the memory and CPU of the idle services."""

import time

from tests.bench import stage
from tests.bench.figures import Sheet

PART = "idle"
QUIET = 10.0


def measure(runs: int) -> Sheet:
    sheet = Sheet(PART)
    for _ in range(runs):
        with stage.run_platform() as staged:
            time.sleep(QUIET)
            before, began = stage.get_cpu_seconds(staged), time.monotonic()
            time.sleep(QUIET)
            elapsed, after = time.monotonic() - began, stage.get_cpu_seconds(staged)
            pids = [pid for name in stage.SERVICES if (pid := staged.pid(name)) is not None]
            sheet.add_value(
                "four services, resident",
                "MB",
                sum(map(stage.get_resident_bytes, pids)) / 2**20,
                limit=320,
            )
            sheet.add_value(
                "four services, proportional",
                "MB",
                sum(map(stage.get_proportional_bytes, pids)) / 2**20,
            )
            used = sum(after[name] - before[name] for name in stage.SERVICES)
            sheet.add_value("four services, CPU", "% of a core", 100 * used / elapsed)
    return sheet


if __name__ == "__main__":
    from tests.bench.__main__ import run_part

    run_part(measure)
