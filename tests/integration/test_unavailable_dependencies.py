"""A gateway without database or NATS: its responses, and its recovery."""

import asyncio
import time

import pytest

from tests.support.http.client import Api
from tests.support.services.world import World

REQUESTS = [
    *(
        ("GET", "/api/v1/me"),
        ("GET", "/api/v1/stores"),
        ("POST", "/api/v1/stores"),
        ("GET", "/api/v1/stores/acme"),
    ),
    *(("DELETE", "/api/v1/stores/acme"), ("GET", "/api/v1/operations"), ("GET", "/api/v1/tokens")),
    *(("GET", "/api/v1/dead-letters"), ("POST", "/api/v1/tenants"), ("GET", "/api/v1/engines")),
]


async def all_unavailable(world: World) -> None:
    answers = await asyncio.gather(
        *(world.api.call(m, path, json={"name": "acme"}) for m, path in REQUESTS)
    )
    for answer in answers:
        assert answer.status == 503, answer.text
        assert (answer.body["code"], answer.body["retryable"]) == ("database_unavailable", True)
        assert int(answer.headers["Retry-After"]) >= 1
    nobody = Api(world.session, world.url, None)
    assert (await nobody.call("GET", "/healthz")).status == 200
    ready = await nobody.call("GET", "/readyz")
    assert (ready.status, ready.body["status"]) == (503, "unavailable")
    assert ready.body["parts"]["database"] == "database_unavailable"
    page = await nobody.call("GET", "/login", headers={"Accept": "text/html"})
    assert page.status in (200, 503)
    html = {"Accept": "text/html", "Cookie": "storefleet_session=" + "a" * 43}
    page = await nobody.call("GET", "/stores", headers=html)
    assert page.status == 503
    assert page.headers["Content-Type"].startswith("text/html")
    assert int(page.headers["Retry-After"]) >= 1
    form = {"email": "admin@example.com", "password": world.admin.password}
    signing_in = await nobody.call(
        "POST", "/login", data=form, headers={"Accept": "text/html", "Origin": world.url}
    )
    assert signing_in.status == 503


async def test_gateway_answers_503_until_database_returns(world: World) -> None:
    port, proxy = await world.proxy(world.servers.postgres_port)
    await world.start("gateway", database_port=port)
    await world.api.create("acme")
    await proxy.cut()
    await all_unavailable(world)
    await proxy.mend()
    assert (await world.api.get("/stores/acme")).status == 200
    assert (await world.api.post("/stores", {"name": "acme-two"})).status == 202


async def test_gateway_starts_without_database(world: World) -> None:
    port, proxy = await world.proxy(world.servers.postgres_port)
    await proxy.cut()
    await world.start("gateway", database_port=port)
    await all_unavailable(world)
    await proxy.mend()
    assert (await world.api.get("/stores")).status == 200


async def test_silent_database_times_out(world: World) -> None:
    port, proxy = await world.proxy(world.servers.postgres_port)
    await world.start("gateway", database_port=port, database_timeout=0.5)
    await world.api.create("acme")
    proxy.freeze()
    began = time.monotonic()
    answers = await asyncio.gather(*(world.api.get("/stores") for _ in range(20)))
    assert {answer.status for answer in answers} == {503}
    assert time.monotonic() - began < 5
    await proxy.cut()
    await proxy.mend()
    assert (await world.api.get("/stores")).status == 200


async def test_creates_are_accepted_without_nats_and_run_later(world: World) -> None:
    port, proxy = await world.proxy(world.servers.nats_port)
    await world.start("gateway", nats_port=port)
    await world.start("provisioner", "reaper")
    await proxy.cut()
    accepted = [await world.api.create(f"early-{number}") for number in range(3)]
    nobody = Api(world.session, world.url, None)
    ready = await nobody.call("GET", "/readyz")
    assert (ready.status, ready.body) == (
        200,
        {"status": "degraded", "parts": {"database": "ok", "messaging": "messaging_unavailable"}},
    )
    for each in accepted:
        assert (await world.api.get(f"/operations/{each['operation']['id']}")).body[
            "state"
        ] == "queued"
    await proxy.mend()
    for each in accepted:
        assert (await world.api.wait_until_done(each["operation"]["id"]))["state"] == "succeeded"


@pytest.mark.parametrize("service", ["provisioner", "reaper", "notifier"])
async def test_provisioner_without_nats_is_not_ready(world: World, service: str) -> None:
    port, proxy = await world.proxy(world.servers.nats_port)
    await proxy.cut()
    await world.start(service, nats_port=port)
    base = Api(world.session, f"http://127.0.0.1:{world.port[service]}", None)
    answer = await base.call("GET", "/readyz")
    assert (answer.status, answer.body["parts"]["messaging"]) == (503, "messaging_unavailable")
    assert (await base.call("GET", "/healthz")).status == 200


async def test_services_start_in_any_order(world: World) -> None:
    database_port, database = await world.proxy(world.servers.postgres_port)
    nats_port, nats = await world.proxy(world.servers.nats_port)
    await database.cut()
    await nats.cut()
    await world.start(database_port=database_port, nats_port=nats_port)
    await asyncio.sleep(0.3)
    await nats.mend()
    await database.mend()
    await world.api.create_ready_store("at-last")
