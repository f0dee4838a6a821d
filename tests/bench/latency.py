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
    with stage.run_simulated_platform() as staged:
        tokens = stage.create_tenants(staged, TENANTS)
        for number in range(runs):
            _measure_run(staged, sheet, tokens, prefix=f"run{number}", rate=rate, seconds=seconds)
            time.sleep(1)
    return sheet


def _measure_run(
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
        stage.read_counter(staged, "gateway", "storefleet_messages_published_total"),
        stage.get_cpu_seconds(staged),
        time.time(),
    )
    result = asyncio.run(stage.run_side_process("tests.bench.load", plan, timeout=seconds + 60))
    elapsed = time.time() - began
    messages = (
        stage.read_counter(staged, "gateway", "storefleet_messages_published_total") - published
    )
    _add_figures(sheet, result)
    sheet.add_value("messages published", "1/s", messages / (result["seconds"] + WARM_UP))
    for name, before in cpu.items():
        sheet.add_value(
            f"CPU {name}",
            "% of a core",
            100 * (stage.get_cpu_seconds(staged)[name] - before) / elapsed,
        )


def _add_figures(sheet: Sheet, result: dict[str, Any]) -> None:
    provisioning, answer = result["store.provisioning"], result["answer"]
    sheet.add_value("to store.provisioning p50", "ms", provisioning["from_due"]["p50"], limit=8)
    sheet.add_value("to store.provisioning p99", "ms", provisioning["from_due"]["p99"], limit=40)
    sheet.add_value("to store.provisioning p99.9", "ms", provisioning["from_due"]["p999"])
    sheet.add_value("to store.provisioning max", "ms", provisioning["from_due"]["max"])
    sheet.add_value("same from the send p50", "ms", provisioning["from_sent"]["p50"])
    sheet.add_value("same from the send p99", "ms", provisioning["from_sent"]["p99"])
    sheet.add_value("to store.ready p50", "ms", result["store.ready"]["from_due"]["p50"])
    sheet.add_value("to store.ready p99", "ms", result["store.ready"]["from_due"]["p99"])
    sheet.add_value("202 p50", "ms", answer["from_due"]["p50"])
    sheet.add_value("202 p99", "ms", answer["from_due"]["p99"], limit=20)
    sheet.add_value("generator late p99", "ms", result["late"]["p99"])
    sheet.add_value("not accepted", "requests", result["requests"] - result["accepted"], limit=0)
    sheet.add_value("events lost", "events", result["lost"], limit=0)
    sheet.add_value("events twice", "events", result["duplicates"], limit=0)
    sheet.add_value("accepted", "1/s", result["accepted"] / max(result["seconds"], 0.001))


if __name__ == "__main__":
    from tests.bench.__main__ import run_part

    run_part(measure)
