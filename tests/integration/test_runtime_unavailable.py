"""What a service offers when its runtime is unavailable or an engine does not support it."""

from pathlib import Path

from tests.support.cluster.samples import ENGINES
from tests.support.services.world import ENGINES as SHOPS
from tests.support.services.world import World


async def test_engine_without_runtime_support_is_not_offered(world: World) -> None:
    await world.start(
        "gateway", runtime="kubernetes", engines_path=(SHOPS, ENGINES), default_engine="pocket"
    )
    listed = (await world.api.get("/engines")).body["data"]
    assert [(engine["name"], engine["default"]) for engine in listed] == [("pocket", True)]
    refused = await world.api.post("/stores", {"name": "acme", "engine": "shop"})
    assert (refused.status, refused.body["code"]) == (422, "invalid")
    assert "does not run here" in refused.body["detail"]
    assert refused.body["errors"] == [{"pointer": "/engine", "detail": "must be one of: pocket"}]
    assert (await world.api.post("/stores", {"name": "acme"})).status == 202
    assert await world.value("SELECT engine FROM stores") == "pocket"


async def test_gateway_runs_without_cluster(world: World, tmp_path: Path) -> None:
    await world.start(
        "gateway", runtime="kubernetes", kubeconfig=str(tmp_path / "none"), engines_path=(ENGINES,)
    )
    store = (await world.api.post("/stores", {"name": "acme", "engine": "pocket"})).body["store"]
    answer = await world.api.get(f"/stores/{store['id']}/logs")
    assert (answer.status, answer.body["code"]) == (503, "runtime_unavailable")
    assert (await world.api.get("/stores")).status == 200
    page = await (await world.sign_in(world.admin)).get(f"/stores/{store['id']}")
    assert page.status == 200
    assert "Logs are unavailable." in page.text
