"""Two thousand hostile requests cause no 5xx, no traceback and no change."""

import asyncio
import gzip
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from services.notifier import websockets
from tests.support.http.hostile_requests import HostileReply, HostileRequests, send
from tests.support.services.world import World

SEED = 20_241_124
AT_ONCE = 16


async def everything(world: World) -> list[dict[str, Any]]:
    """Return all rows, without the times of sign-ins and token use."""
    return await world.fetch(
        "SELECT (SELECT json_agg(s ORDER BY id) FROM stores s)::text AS stores,"
        " (SELECT json_agg(o ORDER BY id) FROM operations o)::text AS operations,"
        " (SELECT json_agg(t ORDER BY id) FROM tenants t)::text AS tenants,"
        " (SELECT json_agg(u ORDER BY id) FROM users u)::text AS users,"
        " (SELECT json_agg(t.id ORDER BY id) FROM tokens t WHERE revoked_at IS NULL)::text AS "
        "tokens,"
        " (SELECT count(*) FROM sessions) AS sessions, (SELECT count(*) FROM audit) AS audit,"
        " (SELECT count(*) FROM outbox) AS outbox, (SELECT last_seq FROM relay) AS events,"
        " (SELECT count(*) FROM dead_letters) AS letters,"
        " (SELECT count(*) FROM idempotency_keys) AS keys"
    )


async def storm(port: int, requests: list[bytes]) -> list[tuple[bytes, HostileReply]]:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, request: bytes) -> tuple[bytes, HostileReply]:
        async with room:
            return request, await send(port, request, hang_up=number % 20 == 0)

    return await asyncio.gather(*(one(number, request) for number, request in enumerate(requests)))


@pytest.fixture
async def battered(world: World) -> tuple[World, HostileRequests]:
    """Start a platform with stores, and a principal without rights to them."""
    await world.start(sign_in_attempts=1)
    store = await world.api.create_ready_store("precious")
    operation = (await world.api.get("/operations")).body["data"][0]
    token = (await world.api.post("/tokens", {"name": "precious"})).body
    await world.execute(
        "INSERT INTO dead_letters (id, tenant_id, reason, detail, subject, payload)"
        " VALUES ('dl_preciouspreciou', $1, 'unreadable', 'x', 'x', '')",
        world.admin.tenant_id,
    )
    narrow = (await world.api.post("/tokens", {"name": "narrow", "scopes": ["stores:read"]})).body
    browser = await world.sign_in(world.other)
    await world.wait_until_settled()
    abuse = HostileRequests(
        SEED,
        tokens=[world.other.token, world.other.token[:-1] + "0", str(narrow["token"])[:-2]],
        cookies=[str(browser.cookie)],
        refs=[store["id"], "precious", operation["id"], token["id"], "dl_preciouspreciou"],
    )
    return world, abuse


async def test_http_survives_hostile_requests(
    battered: tuple[World, HostileRequests], logged: Callable[[], str]
) -> None:
    world, abuse = battered
    before = await everything(world)
    heard = await storm(world.port["gateway"], [abuse.http() for _ in range(1400)])
    heard += await storm(world.port["notifier"], [abuse.http() for _ in range(200)])
    judge(heard, logged())
    counts = Counter(answer.status for _request, answer in heard)
    assert {400, 401, 403, 404, 405, 422} <= counts.keys(), counts
    after = await everything(world)
    assert {k: v for k, v in after[0].items() if v != before[0][k]} == {}
    await world.api.create_ready_store("as-good-as-new")


async def test_websocket_survives_hostile_requests(
    battered: tuple[World, HostileRequests],
    logged: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websockets, "_FIRST_FRAME_TIMEOUT_S", 0.2)
    world, abuse = battered
    before = await everything(world)
    async with world.listener() as bystander:
        heard = await storm(world.port["notifier"], [abuse.websocket() for _ in range(400)])
        judge(heard, logged())
        assert await everything(world) == before
        for request, answer in heard:
            assert b"precious" not in answer.answer, request[:500]
        await world.write_events(1)
        await bystander.reached(1)
        assert len(bystander.frames) == 1


def judge(heard: list[tuple[bytes, HostileReply]], log: str) -> None:
    wrong = [(request[:300], answer) for request, answer in heard if answer.status >= 500]
    assert not wrong, f"{len(wrong)}: {wrong[:3]}"
    for word in ("Traceback", '"exception"', "request_crashed", "never retrieved"):
        lines = [line for line in log.splitlines() if word in line]
        assert not lines, f"{len(lines)}: {lines[0]}"


async def test_body_limit_is_64_kib(world: World) -> None:
    await world.start("gateway")
    just = b'{"name": "' + b"a" * (65_536 - 12) + b'"}'
    assert len(just) == 65_536
    for body, status in ((just, 422), (just + b" ", 413)):
        for headers in ({}, {"Content-Encoding": "gzip"}):
            sent = gzip.compress(body) if headers else body
            answer = await world.api.call(
                "POST",
                "/api/v1/stores",
                data=sent,
                headers={"Content-Type": "application/json", **headers},
            )
            assert answer.status == status, (status, headers, answer.text)
            assert answer.body["code"] == ("too_large" if status == 413 else "invalid")
    browser = await world.sign_in()
    page = await browser.post("/stores/new", {"name": "x" * 70_000})
    assert page.status == 413
    assert page.headers["Content-Type"].startswith("text/html")

    async def endless() -> Any:
        for _ in range(100):
            yield b"x" * 4096

    answer = await world.api.call("POST", "/api/v1/stores", data=endless())
    assert answer.status == 413
