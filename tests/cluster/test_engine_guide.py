"""The engine of docs/engines.md: create, upgrade, roll back and delete one of its stores."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from storefleet.core.errors import NothingChanged
from storefleet.core.identifiers import make_resource_name
from storefleet.engines import catalogue
from storefleet.runtimes.kubernetes.api import resource_kinds
from tests.support.cluster.container_images import make_image
from tests.support.cluster.runtime_bench import Bench, open_bench, run_bare_cluster
from tests.support.documents import engine_guide
from tests.support.services.polling import eventually


@pytest.fixture(scope="module")
def charts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the guide's files, and load the image of its Dockerfile, built without Docker."""
    folder = tmp_path_factory.mktemp("guide")
    made = engine_guide.write_files(folder)
    program = (folder / "stores" / "kiosk" / "kiosk").read_bytes()
    archive = make_image(
        folder, "docker.io/storefleet/kiosk:1.0.0", {"bin/kiosk": program}, entrypoint="/bin/kiosk"
    )
    run_bare_cluster("load-image", str(archive))
    return made


@pytest_asyncio.fixture
async def bench(charts: Path) -> AsyncIterator[Bench]:
    async with open_bench(engines=catalogue.load_engines([charts], runtime="kubernetes")) as made:
        yield made


async def test_engine_of_guide_creates_upgrades_and_rolls_back(bench: Bench) -> None:
    store = bench.make_store().copy_with(
        engine="kiosk", engine_version="1.0.0", plan="small", parameters={"title": "Corner kiosk"}
    )
    store = await bench.create(store)

    async def page(path: str = "/") -> str:
        service = await bench.cluster.get(
            resource_kinds.SERVICE, "web", namespace=make_resource_name(store.id)
        )
        assert service is not None
        url = f"http://{service['spec']['clusterIP']}{path}"

        async def answered() -> str:
            """Request the page; retry while the node still routes to a replaced pod."""
            try:
                async with aiohttp.ClientSession() as http, http.get(url) as answer:
                    return await answer.text()
            except aiohttp.ClientConnectionError as error:
                raise AssertionError(str(error)) from None

        return await eventually(answered)

    assert "<h1>Corner kiosk</h1> Fresh coffee, version 1.0.0" in await page()
    assert "ordered" in await page("/cgi-bin/order")
    operation = "op_0123456789abcdef"
    store = await bench.upgrade(store, "1.1.0", operation=operation)
    assert "version 1.1.0" in await page()
    assert "ordered" in await page("/cgi-bin/order")

    with pytest.raises(NothingChanged, match="1"):  # the order placed since would be lost
        await bench.roll_back(store, "1.0.0", operation)
    store = await bench.roll_back(store, "1.0.0", operation, discard=True)
    assert "version 1.0.0" in await page()
    await bench.delete(store)
    assert not await bench.exists(store)
