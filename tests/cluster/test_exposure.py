"""Stores at their own hosts through a real ingress controller, by Ingress and HTTPRoute."""

import json
import os
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from storefleet.core.identifiers import make_resource_name
from storefleet.core.models import Store
from storefleet.engines import catalogue
from storefleet.runtimes.kubernetes.api import resource_kinds
from tests.support.cluster.charts import CHARTS
from tests.support.cluster.runtime_bench import Bench, get_kubeconfig, open_bench, run_bare_cluster
from tests.support.services.polling import eventually

EXPOSURES: dict[str, dict[str, Any]] = {
    "ingress": {"exposure": "ingress", "ingress_class": "traefik"},
    "httproute": {"exposure": "httproute", "route_gateway": "traefik/traefik/web"},
}


@pytest.fixture(scope="module")
def ingress_url() -> str:
    """URL of Traefik as seen from this machine."""
    run_bare_cluster("ingress")
    found = json.loads(kubectl("get", "service", "traefik", "--namespace=traefik", "--output=json"))
    return f"http://{found['spec']['clusterIP']}"


def kubectl(*words: str) -> str:
    # Without HOME, kubectl writes its cache to .kube in the working directory.
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment["KUBECONFIG"] = get_kubeconfig()
    done = subprocess.run(
        ["kubectl", *words], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


@pytest_asyncio.fixture(params=EXPOSURES)
async def bench(request: pytest.FixtureRequest, ingress_url: str) -> AsyncIterator[Bench]:
    fields = EXPOSURES[request.param]
    shops = catalogue.load_engines([CHARTS], runtime="kubernetes")
    async with open_bench(
        engines=shops, ingress_address=ingress_url, store_domain="shops.test", **fields
    ) as made:
        yield made


def make_oscar_store(bench: Bench) -> Store:
    oscar = catalogue.load_engines([CHARTS], runtime="kubernetes").get_offered("oscar")
    store = bench.make_store()
    return store.copy_with(
        engine="oscar", engine_version=oscar.default_version, parameters={"title": "Exposed"}
    )


async def request_page(ingress_url: str, host: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{ingress_url}/catalogue/", headers={"Host": host}) as page,
    ):
        return page.status, await page.text()


def list_requests(host: str) -> list[tuple[str, int]]:
    """Return path and status of Traefik's responses for a host."""
    lines = kubectl("logs", "deployment/traefik", "--namespace=traefik").splitlines()
    entries = [json.loads(line) for line in lines if line.startswith("{")]
    return [
        (each["RequestPath"], each["DownstreamStatus"])
        for each in entries
        if each.get("RequestHost") == host
    ]


async def test_store_answers_under_its_host_until_deleted(bench: Bench, ingress_url: str) -> None:
    store = await bench.create(make_oscar_store(bench), within=120)
    host = f"{store.name}.shops.test"
    assert store.url == f"http://{host}/"

    async def shows() -> bool:
        status, text = await request_page(ingress_url, host)
        return status == 200 and "Stoneware Mug" in text and "Exposed" in text

    await eventually(shows, within=20, every=0.2)
    # Another host name gets 404 from the same controller.
    assert (await request_page(ingress_url, "nobody.shops.test"))[0] == 404

    before = len(list_requests(host))
    await bench.delete(store)
    assert not await bench.exists(store)
    assert (await request_page(ingress_url, host))[0] in {404, 503}
    # The storefront check requested the host through Traefik and did not get the store.
    checks = list_requests(host)[before:]
    assert checks, "the reaper did not check"
    assert checks[-1][1] in {404, 503}


async def test_deletion_waits_while_host_still_answers(bench: Bench, ingress_url: str) -> None:
    """A leftover of the store that still answers keeps the deletion from finishing."""
    store = await bench.create(make_oscar_store(bench), within=120)
    host = f"{store.name}.shops.test"

    async def shows() -> bool:
        return (await request_page(ingress_url, host))[0] == 200

    await eventually(shows, within=20, every=0.2)
    check = bench.runtime.delete_steps(store)[-1]
    outcome: list[str] = []

    async def report_progress(message: str) -> None:
        outcome.append(message)

    import asyncio
    from dataclasses import replace

    task = asyncio.create_task(
        check.run(replace(bench.make_context(store), report_progress=report_progress))
    )
    try:
        await eventually(
            lambda: any(f"the storefront at http://{host}/" in each for each in outcome), within=20
        )
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert (
        await bench.cluster.get(resource_kinds.NAMESPACE, make_resource_name(store.id)) is not None
    )
