"""Helpers for version changes of stores on a cluster: page requests, orders, leftovers."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from storefleet.core.identifiers import make_resource_name
from storefleet.core.models import Store
from storefleet.runtimes.kubernetes.api import resource_kinds
from tests.support.cluster.runtime_bench import Bench


class Shopper:
    """Requests the store's page every 100 ms; `gap` is the longest time without a response."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.gap = 0.0
        self.failed = 0
        self.versions: list[str] = []

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=2)
        connector = aiohttp.TCPConnector(force_close=True)
        last = time.monotonic()
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
            while True:
                version = await self._ask(http)
                now = time.monotonic()
                self.gap = max(self.gap, now - last)
                if version:
                    last = now
                    if version not in self.versions[-1:]:
                        self.versions.append(version)
                else:
                    self.failed += 1
                await asyncio.sleep(0.1)

    async def _ask(self, http: aiohttp.ClientSession) -> str:
        try:
            async with http.get(f"{self.address}/") as page:
                text = await page.text()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return ""
        return text.rpartition("version ")[2].strip() if page.status == 200 else ""


async def get_address(bench: Bench, store: Store) -> str:
    service = await bench.cluster.get(
        resource_kinds.SERVICE, "web", namespace=make_resource_name(store.id)
    )
    assert service is not None
    return f"http://{service['spec']['clusterIP']}"


@asynccontextmanager
async def watch_page(bench: Bench, store: Store) -> AsyncIterator[Shopper]:
    shopper = Shopper(await get_address(bench, store))
    task = asyncio.create_task(shopper.run())
    try:
        yield shopper
        await asyncio.sleep(0.5)
    finally:
        task.cancel()


async def request_page(bench: Bench, store: Store, path: str) -> str:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{await get_address(bench, store)}{path}") as page,
    ):
        return (await page.text()).strip()


async def place_order(bench: Bench, store: Store, number: str) -> None:
    assert await request_page(bench, store, f"/cgi-bin/order?{number}") == "ordered"


async def list_leftovers(
    bench: Bench, store: Store, *, leaving: bool = False
) -> dict[str, list[str]]:
    """Return task Jobs and unready pods; terminating pods count only with `leaving`."""
    namespace = make_resource_name(store.id)
    jobs = await bench.cluster.list_objects(resource_kinds.JOB, namespace=namespace)
    pods = await bench.cluster.list_objects(resource_kinds.POD, namespace=namespace)
    unready = [
        pod["metadata"]["name"]
        for pod in pods
        if pod["status"]["phase"] != "Succeeded"
        and (leaving or "deletionTimestamp" not in pod["metadata"])
        and not any(
            c["type"] == "Ready" and c["status"] == "True"
            for c in pod["status"].get("conditions", ())
        )
    ]
    return {
        "tasks": [
            each["metadata"]["name"]
            for each in jobs
            if resource_kinds.TASK_LABEL in each["metadata"]["labels"]
        ],
        "pods": unready,
    }


NO_LEFTOVERS: dict[str, list[str]] = {"tasks": [], "pods": []}


async def list_pod_uids(bench: Bench, store: Store, component: str) -> list[str]:
    labels = f"{resource_kinds.COMPONENT_LABEL}={component}"
    pods = await bench.cluster.list_objects(
        resource_kinds.POD, namespace=make_resource_name(store.id), labels=labels
    )
    return [each["metadata"]["uid"] for each in pods]
