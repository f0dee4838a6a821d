"""Graceful shutdown: not ready first, still answering, then stopped."""

import asyncio
import signal
import time

import aiohttp
import pytest

from tests.support.services.world import World

DRAIN = 1.5


@pytest.mark.parametrize("service", ["gateway", "notifier"])
async def test_draining_service_answers_while_not_ready(world: World, service: str) -> None:
    process = await world.service(service, drain=DRAIN)
    base = f"http://127.0.0.1:{world.port[service]}"
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{base}/readyz") as ready:
            assert ready.status == 200
            assert ready.headers.get("Connection") != "close"
        process.signal(signal.SIGTERM)
        began = time.monotonic()
        await asyncio.sleep(0.2)
        async with session.get(f"{base}/readyz") as ready:
            assert (ready.status, (await ready.json())["status"]) == (503, "draining")
        answered = 0
        while time.monotonic() < began + DRAIN - 0.3:
            async with session.get(f"{base}/healthz") as alive:
                assert alive.status == 200
                assert alive.headers["Connection"] == "close"
                answered += 1
            await asyncio.sleep(0.05)
    assert answered > 5
    assert await process.ended(within=10) == 0
    assert time.monotonic() - began >= DRAIN


async def test_second_signal_stops_at_once(world: World) -> None:
    process = await world.service("gateway", drain=60)
    for _ in range(2):
        process.signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
    assert await process.ended(within=10) == 0


async def test_service_without_drain_stops_at_once(world: World) -> None:
    process = await world.service("gateway")
    process.signal(signal.SIGTERM)
    assert await process.ended(within=5) == 0
