"""Benchmark the latency from POST to `store.provisioning` on a websocket, at a fixed rate."""

import asyncio
import time
from typing import Any

from tests.bench import stage
from tests.bench.figures import Sheet
from tests.support.services.platform import Platform

PART = "latency"
RATE, SECONDS, WARM_UP, TENANTS = 200, 20, 2, 20


def measure(runs: int, *, rate: float = RATE, seconds: float = SECONDS) -> Sheet:
    sheet = Sheet(PART)
    with stage.simulated() as staged:
        tokens = stage.tenants(staged, TENANTS)
        for number in range(runs):
            _run(staged, sheet, tokens, prefix=f"run{number}", rate=rate, seconds=seconds)
            time.sleep(1)
    return sheet


def _run(
    staged: Platform, sheet: Sheet, tokens: list[str], *, prefix: str, rate: float, seconds: float
) -> None:
    admin = staged.admin
    plan = {
        "url": admin["url"],
        "live_url": admin["live_url"],
        "tokens": tokens,
        "prefix": prefix,
        "rate": rate,
        "seconds": seconds,
        "warm_up": WARM_UP,
    }
    published, cpu, began = (
        stage.counter(staged, "gateway", "storefleet_messages_published_total"),
        stage.busy(staged),
        time.time(),
    )
    result = asyncio.run(stage.side_process("tests.bench.load", plan, timeout=seconds + 60))
    elapsed = time.time() - began
    messages = stage.counter(staged, "gateway", "storefleet_messages_published_total") - published
    _report(sheet, result)
    sheet.add("messages published", "1/s", messages / (result["seconds"] + WARM_UP))
    for name, before in cpu.items():
        sheet.add(f"CPU {name}", "% of a core", 100 * (stage.busy(staged)[name] - before) / elapsed)


def _report(sheet: Sheet, result: dict[str, Any]) -> None:
    provisioning, answer = result["store.provisioning"], result["answer"]
    sheet.add("to store.provisioning p50", "ms", provisioning["from_due"]["p50"], limit=8)
    sheet.add("to store.provisioning p99", "ms", provisioning["from_due"]["p99"], limit=40)
    sheet.add("to store.provisioning p99.9", "ms", provisioning["from_due"]["p999"])
    sheet.add("to store.provisioning max", "ms", provisioning["from_due"]["max"])
    sheet.add("same from the send p50", "ms", provisioning["from_sent"]["p50"])
    sheet.add("same from the send p99", "ms", provisioning["from_sent"]["p99"])
    sheet.add("to store.ready p50", "ms", result["store.ready"]["from_due"]["p50"])
    sheet.add("to store.ready p99", "ms", result["store.ready"]["from_due"]["p99"])
    sheet.add("202 p50", "ms", answer["from_due"]["p50"])
    sheet.add("202 p99", "ms", answer["from_due"]["p99"], limit=20)
    sheet.add("generator late p99", "ms", result["late"]["p99"])
    sheet.add("not accepted", "requests", result["requests"] - result["accepted"], limit=0)
    sheet.add("events lost", "events", result["lost"], limit=0)
    sheet.add("events twice", "events", result["twice"], limit=0)
    sheet.add("accepted", "1/s", result["accepted"] / max(result["seconds"], 0.001))


if __name__ == "__main__":
    from tests.bench.__main__ import alone

    alone(measure)
