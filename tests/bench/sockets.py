"""Benchmark 5,000 websockets on one notifier: delay to the last one, memory per websocket."""

import asyncio
import json
import resource
import sys
from typing import Any

from tests.bench import stage
from tests.bench.figures import Sheet
from tests.support.services.platform import ROOT, Platform

PART = "sockets"
SOCKETS, STORES, EVENTS_A_STORE = 5_000, 5, 3
TIMEOUT = 90.0


def measure(runs: int) -> Sheet:
    sheet = Sheet(PART)
    sheet.add_note(
        "Measured from the row's time in the database, so relay and NATS are included; the "
        "clients run on the same machine."
    )
    with stage.run_simulated_platform() as staged:
        for number in range(runs):
            asyncio.run(_measure_run(staged, sheet, number))
    return sheet


async def _measure_run(staged: Platform, sheet: Sheet, number: int) -> None:
    notifier = staged.pid("notifier")
    assert notifier is not None
    before = stage.get_resident_bytes(notifier)
    crowd = await _start_crowd(staged)
    try:
        opened = json.loads(await asyncio.wait_for(_read_line(crowd), TIMEOUT))["opened"]
        await asyncio.sleep(1)
        each = (stage.get_resident_bytes(notifier) - before) / SOCKETS
        for store in range(STORES):
            await asyncio.to_thread(
                stage.call_as_operator,
                staged,
                "POST",
                "stores",
                {"name": f"crowd-{number}-{store}"},
            )
            await asyncio.sleep(1.5)
        result = json.loads(await asyncio.wait_for(_read_line(crowd), TIMEOUT))
    finally:
        if crowd.returncode is None:
            crowd.kill()
        await crowd.wait()
    spread = sorted(1000 * seconds for seconds in result["last_after"])
    sheet.add_value(
        "last websocket receives, median event", "ms", spread[len(spread) // 2], limit=200
    )
    sheet.add_value("last websocket receives, slowest event", "ms", spread[-1])
    if number == 0:  # later, the notifier reuses memory that it has already allocated
        sheet.add_value("memory per websocket", "KB", each / 1024, limit=30)
    sheet.add_value("websockets opened", "1/s", SOCKETS / opened)
    sheet.add_value("websockets lost", "websockets", result["closed"], limit=0)
    await asyncio.sleep(2)  # the notifier closes the websockets


async def _start_crowd(staged: Platform) -> asyncio.subprocess.Process:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.crowd",
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    plan: dict[str, Any] = {
        "live_url": staged.admin["live_url"],
        "token": staged.admin["token"],
        "sockets": SOCKETS,
        "events": STORES * EVENTS_A_STORE,
        "timeout": TIMEOUT,
    }
    assert crowd.stdin is not None
    crowd.stdin.write(json.dumps(plan).encode() + b"\n")
    await crowd.stdin.drain()
    return crowd


async def _read_line(crowd: asyncio.subprocess.Process) -> bytes:
    assert crowd.stdout is not None
    line = await crowd.stdout.readline()
    if not line:
        raise RuntimeError("The websocket clients ended early.")
    return line


if __name__ == "__main__":
    from tests.bench.__main__ import run_part

    run_part(measure)
