"""The event websocket: authentication, replay before live events, and close codes."""

import asyncio
import json
import random
import socket
import time
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from prometheus_client import REGISTRY

from services.notifier import websockets
from services.notifier.event_websocket import EventWebsocket
from services.notifier.feed import EventFeed
from tests.support.http.websocket_listener import Listener, open_listener
from tests.support.services.polling import eventually
from tests.support.services.world import World

NOBODY = 4401


def own(frames: list[dict[str, Any]], store_id: str = "sto_aaaaaaaaaaaaaaaa") -> list[int]:
    """Return the test's own numbers in the order of arrival."""
    return [frame["data"]["number"] for frame in frames if frame.get("store_id") == store_id]


async def test_token_is_accepted_in_header_or_first_frame(world: World) -> None:
    await world.start("gateway", "notifier")
    async with (
        world.listener() as by_header,
        open_listener(world.session, world.live_url) as by_frame,
    ):
        await by_frame.ws.send_json({"token": world.admin.token})
        await asyncio.sleep(0.2)
        await world.write_events(2)
        for listener in (by_header, by_frame):
            await eventually(lambda listener=listener: len(listener.frames) == 2)  # type: ignore[misc]
            frame = listener.frames[0]
            assert frame.keys() == {"seq", "type", "time", "store_id", "operation_id", "data"}
            assert (frame["seq"], frame["type"], frame["store_id"]) == (
                1,
                "store.step",
                "sto_aaaaaaaaaaaaaaaa",
            )
            assert frame["time"].endswith("Z")


async def test_invalid_token_is_rejected(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websockets, "_FIRST_FRAME_TIMEOUT_S", 0.4)
    await world.start("gateway", "notifier")
    expired = (await world.api.post("/tokens", {"name": "x"})).body
    await world.execute("UPDATE tokens SET expires_at = now() WHERE id = $1", expired["id"])
    blind = (await world.api.post("/tokens", {"name": "x", "scopes": ["stores:write"]})).body
    began = time.monotonic()
    async with open_listener(world.session, world.live_url) as silent:
        assert await silent.wait_until_closed() == NOBODY
    assert 0.35 < time.monotonic() - began < 3
    for token in ("wrong", "sft_" + "a" * 43, expired["token"], blind["token"]):
        async with world.listener(token=token) as listener:
            assert await listener.wait_until_closed() == NOBODY
        async with open_listener(world.session, world.live_url) as listener:
            await listener.ws.send_json({"token": token})
            assert await listener.wait_until_closed() == NOBODY
    async with open_listener(
        world.session, world.live_url, headers={"Authorization": "Basic YTpi"}
    ) as listener:
        assert await listener.wait_until_closed() == NOBODY
    frames = (
        "",
        "x",
        "[]",
        "{}",
        '{"token": 1}',
        '{"token": null}',
        "[" * 2000,
        '{"token": "\\ud800"}',
        "\0",
    )
    for frame in frames:
        async with open_listener(world.session, world.live_url) as listener:
            await listener.ws.send_str(frame)
            assert await listener.wait_until_closed() == NOBODY, frame
    async with open_listener(world.session, world.live_url) as listener:
        await listener.ws.send_bytes(b"\xff\x00")
        assert await listener.wait_until_closed() == NOBODY
    async with open_listener(world.session, world.live_url) as listener:
        await listener.ws.send_str("x" * 10_000)
        assert await listener.wait_until_closed() in (NOBODY, 1009)


async def test_session_requires_own_origin(world: World) -> None:
    await world.start("gateway", "notifier")
    browser = await world.sign_in()
    gateway, notifier = world.port["gateway"], world.port["notifier"]
    for host in ("127.0.0.1", "localhost"):
        headers = {
            **browser.cookie_header,
            "Origin": f"http://{host}:{gateway}",
            "Host": f"{host}:{notifier}",
        }
        async with open_listener(world.session, world.live_url, headers=headers) as listener:
            await asyncio.sleep(0.1)
            await world.write_events(1)
            await eventually(lambda listener=listener: listener.frames)  # type: ignore[misc]
    wrong = (
        *(
            None,
            "null",
            "",
            "http://127.0.0.1",
            "http://evil.com",
            "http://[",
            f"http://[::1]:{gateway}",
        ),
        *(
            f"https://127.0.0.1:{gateway}",
            f"http://127.0.0.1:{notifier}",
            f"http://127.0.0.1:{gateway}.evil.com",
        ),
        f"http://localhost:{gateway}",  # our own, but not the requested host
    )
    for origin in wrong:
        headers = {**browser.cookie_header, **({"Origin": origin} if origin is not None else {})}
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await world.session.ws_connect(world.live_url, headers=headers)
        assert refused.value.status == 403, origin
    headers = {"Authorization": f"Bearer {world.admin.token}", "Origin": "http://evil.com"}
    async with open_listener(
        world.session, world.live_url, headers=headers
    ) as listener:  # a token is not a session cookie
        await asyncio.sleep(0.1)
        await world.write_events(1)
        await eventually(lambda: listener.frames)


async def test_invalid_cookie_is_rejected(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websockets, "_FIRST_FRAME_TIMEOUT_S", 0.2)
    await world.start("notifier")
    headers = {
        "Cookie": f"storefleet_session={'a' * 43}",
        "Origin": f"http://127.0.0.1:{world.port['gateway']}",
    }
    async with open_listener(world.session, world.live_url, headers=headers) as listener:
        assert await listener.wait_until_closed() == NOBODY


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "", "9" * 30, "9223372036854775808", "٣"])
async def test_after_requires_number(world: World, after: str) -> None:
    await world.start("notifier")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await world.session.ws_connect(
            f"{world.live_url}?after={after}",
            headers={"Authorization": f"Bearer {world.admin.token}"},
        )
    assert refused.value.status == 422


async def test_invalid_handshakes_are_rejected(world: World) -> None:
    await world.start("notifier", websocket_limit=2)
    plain = await world.api.call("GET", world.live_url.replace("ws:", "http:"))
    assert (plain.status, plain.body["code"]) == (422, "websocket_only")
    async with world.listener(), world.listener():
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await world.session.ws_connect(world.live_url)
        assert refused.value.status == 503
        assert refused.value.headers is not None
        assert "Retry-After" in refused.value.headers

    async def free() -> bool:
        try:
            ws = await world.session.ws_connect(world.live_url)
        except aiohttp.WSServerHandshakeError:
            return False
        await ws.close()
        return True

    await eventually(free)


async def test_unavailable_database_closes_with_try_again_later(world: World) -> None:
    port, proxy = await world.proxy(world.servers.postgres_port)
    await world.start("notifier", database_port=port)
    await proxy.cut()
    async with world.listener() as listener:
        assert await listener.wait_until_closed() == 1013
    await proxy.mend()
    async with world.listener() as listener:
        await asyncio.sleep(0.3)
        assert listener.code is None


async def test_replay_continues_live_without_gaps_or_duplicates(world: World) -> None:
    await world.start("gateway", "notifier")
    await world.write_events(700)
    total, step = 2500, 50

    async def publish() -> None:
        for _ in range((total - 700) // step):
            await world.write_events(step, padding=1000)
            await asyncio.sleep(0.01)

    publishing = asyncio.create_task(publish())
    listeners: list[tuple[int, Listener]] = []
    async with asyncio.timeout(60), AsyncExitStack() as many:
        for after in (0, 1, 333, 699, 0, 0):
            await eventually(lambda after=after: _reached(world, after))  # type: ignore[misc]
            listeners.append((after, await many.enter_async_context(world.listener(after=after))))
            await asyncio.sleep(0.05)
        await publishing
        for after, listener in listeners:
            await listener.reached(total, within=20)
            assert listener.seqs == list(range(after + 1, total + 1))
            assert own(listener.frames) == list(range(after + 1, total + 1))
            assert listener.code is None


async def _reached(world: World, seq: int) -> bool:
    return await world.last_seq() >= seq


async def test_connection_without_after_receives_new_events_only(world: World) -> None:
    await world.start("gateway", "notifier")
    await world.write_events(5)
    await world.wait_until_settled()
    async with world.listener(after=5) as following, world.listener() as live:
        await asyncio.sleep(0.2)
        await world.write_events(3)
        for listener in (following, live):
            await listener.reached(8)
            assert listener.seqs == [6, 7, 8]


async def test_expired_history_sends_reset(world: World) -> None:
    await world.start("gateway", "notifier")
    await world.write_events(20)
    await world.wait_until_settled()
    await world.execute("UPDATE events SET time = now() - interval '8 days' WHERE seq <= 10")
    async with world.database.transaction() as tx:
        assert await tx.events.purge_published(retention=timedelta(days=7)) == 10
    cases = [
        (0, [20]),
        (9, [20]),
        (10, list(range(11, 21))),
        (20, []),
        (21, [20]),
        (2**63 - 1, [20]),
    ]
    for after, expected in cases:
        async with world.listener(after=after) as listener:
            if expected:
                await listener.reached(20)
            else:
                await asyncio.sleep(0.3)
            assert listener.seqs == expected, after
            assert (listener.frames[:1] == [{"type": "reset", "seq": 20}]) == (expected == [20])
            if after == 2**63 - 1:
                await world.write_events(1)  # after a reset the stream continues
                await listener.reached(21)
                assert listener.seqs == [20, 21]


async def test_tenant_receives_own_events_only(world: World) -> None:
    await world.start("gateway", "notifier")
    theirs = "sto_bbbbbbbbbbbbbbbb"
    await world.write_events(3)
    await world.write_events(2, tenant_id=world.other.tenant_id, store_id=theirs)
    async with (
        world.listener(after=0) as mine,
        world.listener(token=world.other.token, after=0) as others,
    ):
        await world.wait_until_settled()
        await world.write_events(2)
        await world.write_events(1, tenant_id=world.other.tenant_id, store_id=theirs)
        await mine.reached(7)
        await others.reached(8)
        assert {frame["store_id"] for frame in mine.frames} == {"sto_aaaaaaaaaaaaaaaa"}
        assert {frame["store_id"] for frame in others.frames} == {theirs}
        assert own(mine.frames) == [1, 2, 3, 4, 5]
        assert own(others.frames, theirs) == [1, 2, 3]


async def test_lost_live_messages_are_read_from_database(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(4)
    heard = EventFeed.receive_message
    monkeypatch.setattr(
        EventFeed,
        "receive_message",
        lambda self, body: heard(self, body) if chance.random() < 0.5 else None,
    )
    await world.start("gateway", "notifier")
    async with world.listener(after=0) as listener:
        for _ in range(20):
            await world.write_events(20)
            await asyncio.sleep(0.02)
        monkeypatch.setattr(
            EventFeed, "receive_message", lambda _self, _body: None
        )  # and the last ones completely
        await world.write_events(20)
        await listener.reached(420, within=15)
        assert listener.seqs == list(range(1, 421))


async def test_unreadable_live_messages_are_skipped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = EventFeed.receive_message

    def noisy(self: EventFeed, body: bytes) -> None:
        envelope = json.loads(body)
        for change in (
            {"seq": None},
            {"seq": "x"},
            {"tenantid": 1},
            {"specversion": "9"},
            {"data": None},
        ):
            heard(self, json.dumps({**envelope, **change, "seq": change.get("seq", -5)}).encode())
        for garbage in (b"", b"\xff", b"[]", b"{}"):
            heard(self, garbage)
        heard(self, body)
        heard(self, body)

    monkeypatch.setattr(EventFeed, "receive_message", noisy)
    await world.start("gateway", "notifier")
    async with world.listener(after=0) as listener:
        await world.write_events(30)
        await listener.reached(30)
        assert listener.seqs == list(range(1, 31))


async def test_notifier_recovers_from_nats_outage(world: World) -> None:
    port, proxy = await world.proxy(world.servers.nats_port)
    await world.start("gateway")
    await world.start("notifier", nats_port=port)
    async with world.listener(after=0) as listener:
        await world.write_events(10)
        await listener.reached(10)
        await proxy.cut()
        await world.write_events(10)
        ready = f"http://127.0.0.1:{world.port['notifier']}/readyz"
        await eventually(lambda: _status_is(world, ready, 503))
        await listener.reached(20, within=10)  # from the database, at once
        await world.write_events(10)
        await proxy.mend()
        await world.write_events(10)
        await listener.reached(40)
        await eventually(lambda: _status_is(world, ready, 200))
        assert listener.seqs == list(range(1, 41))


async def _status_is(world: World, url: str, status: int) -> bool:
    return (await world.api.call("GET", url)).status == status


async def test_notifier_recovers_from_full_outage(world: World) -> None:
    database_port, database = await world.proxy(world.servers.postgres_port)
    nats_port, nats = await world.proxy(world.servers.nats_port)
    await world.start("gateway")
    await world.start("notifier", database_port=database_port, nats_port=nats_port)
    async with world.listener(after=0) as listener:
        await world.write_events(5)
        await listener.reached(5)
        await database.cut()
        await nats.cut()
        await world.write_events(5)
        await asyncio.sleep(0.5)
        await nats.mend()
        await world.write_events(5)
        await database.mend()
        await listener.reached(15, within=15)
        assert listener.seqs == list(range(1, 16))


async def test_connection_before_feed_start_misses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, may_begin = EventFeed._read_initial_watermark, asyncio.Event()

    async def late(self: EventFeed) -> None:
        await may_begin.wait()
        await begin(self)

    monkeypatch.setattr(EventFeed, "_read_initial_watermark", late)
    await world.start("gateway", "notifier")
    await world.write_events(5)
    await world.wait_until_settled()
    async with world.listener(after=0) as listener:
        await asyncio.sleep(0.3)
        may_begin.set()
        await world.write_events(1)
        await listener.reached(6)
        assert listener.seqs == [1, 2, 3, 4, 5, 6]


async def test_many_connections_receive_all_events_in_order(world: World) -> None:
    await world.start("gateway", "notifier")
    async with asyncio.timeout(60), AsyncExitStack() as many:
        listeners = await asyncio.gather(
            *(many.enter_async_context(world.listener()) for _ in range(150))
        )
        await asyncio.sleep(0.3)
        for _ in range(10):
            await world.write_events(5)
        for listener in listeners:
            await listener.reached(50, within=20)
            assert listener.seqs == list(range(1, 51))


async def test_slow_reader_alone_is_disconnected(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websockets, "REPLAY_BATCH_TIMEOUT_S", 1.0)
    await world.start("gateway", "notifier", websocket_backlog=8192)
    cut = _measured("storefleet_websockets_closed_slow_total")
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(slow, ("127.0.0.1", world.port["notifier"]))
    request = (
        "GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: "
        "Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
        f"Authorization: Bearer {world.admin.token}\r\n\r\n"
    )
    await loop.sock_sendall(slow, request.encode())
    assert b" 101 " in await loop.sock_recv(slow, 200)
    async with world.listener() as quick:
        await asyncio.sleep(0.3)
        for _ in range(60):
            await world.write_events(5, padding=20_000)
        await quick.reached(300, within=30)
        assert quick.seqs == list(range(1, 301))
        assert quick.code is None
        await eventually(lambda: _measured("storefleet_websockets_closed_slow_total") == cut + 1)
        await eventually(lambda: _measured("storefleet_websockets") == 1)
    slow.close()


def _measured(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


async def test_briefly_slow_reader_receives_everything(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It falls behind, catches up from the database, and gets each event once."""
    behind: list[EventWebsocket] = []
    resume = websockets.WebsocketServer._restart_replay
    monkeypatch.setattr(
        websockets.WebsocketServer,
        "_restart_replay",
        lambda self, one: (behind.append(one), resume(self, one)),
    )
    await world.start("gateway", "notifier", websocket_backlog=8192)
    headers = {"Authorization": f"Bearer {world.admin.token}"}
    ws = await world.session.ws_connect(world.live_url, headers=headers, max_msg_size=1 << 22)
    await asyncio.sleep(0.3)
    connection = ws._response.connection
    assert connection is not None
    assert connection.transport is not None
    connection.transport.pause_reading()
    total = 300
    for _ in range(total // 5):
        await world.write_events(5, padding=20_000)
    await world.wait_until_settled()
    await asyncio.sleep(0.5)
    connection.transport.resume_reading()
    async with asyncio.timeout(20):
        seqs = [(await ws.receive_json())["seq"] for _ in range(total)]
    assert seqs == list(range(1, total + 1))
    assert behind
    await world.write_events(1)
    assert (await ws.receive_json(timeout=5))["seq"] == total + 1
    await ws.close()


async def test_sign_out_closes_within_one_second(world: World) -> None:
    await world.start("gateway", "notifier")
    browser, other = await world.sign_in(), await world.sign_in()
    origin = {"Origin": world.url}
    async with (
        open_listener(
            world.session, world.live_url, headers={**browser.cookie_header, **origin}
        ) as one,
        open_listener(
            world.session, world.live_url, headers={**browser.cookie_header, **origin}
        ) as two,
        open_listener(
            world.session, world.live_url, headers={**other.cookie_header, **origin}
        ) as stays,
    ):
        await asyncio.sleep(0.3)
        page = (await browser.get("/stores")).text
        began = time.monotonic()
        assert (await browser.submit(page, "/logout")).status == 303
        assert [await one.wait_until_closed(), await two.wait_until_closed()] == [NOBODY, NOBODY]
        assert time.monotonic() - began < 1
        await world.write_events(1)
        await stays.reached(1)
        assert stays.code is None


async def test_token_revocation_closes_its_connections(world: World) -> None:
    await world.start("gateway", "notifier")
    token = (await world.api.post("/tokens", {"name": "short"})).body
    async with world.listener(token=token["token"]) as revoked, world.listener() as stays:
        await asyncio.sleep(0.3)
        assert (await world.api.delete(f"/tokens/{token['id']}")).status == 204
        assert await revoked.wait_until_closed(within=2) == NOBODY
        assert stays.code is None


async def test_expired_principal_is_closed_after_lost_notification(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websockets, "_RECHECK_INTERVAL_S", 0.3)
    await world.start("gateway", "notifier")
    token = (await world.api.post("/tokens", {"name": "short"})).body
    browser = await world.sign_in()
    headers = {**browser.cookie_header, "Origin": world.url}
    async with (
        world.listener(token=token["token"]) as by_token,
        open_listener(world.session, world.live_url, headers=headers) as by_session,
        world.listener() as stays,
    ):
        await asyncio.sleep(0.2)
        await world.execute("UPDATE tokens SET expires_at = now() WHERE id = $1", token["id"])
        await world.execute("UPDATE sessions SET expires_at = now()")
        assert await by_token.wait_until_closed(within=5) == NOBODY
        assert await by_session.wait_until_closed(within=5) == NOBODY
        assert stays.code is None


async def test_restart_closes_with_service_restart(world: World) -> None:
    await world.start("gateway", "notifier")
    await world.write_events(3)
    async with world.listener(after=0) as listener:
        await listener.reached(3)
        await world.stop("notifier")
        assert await listener.wait_until_closed() == 1012
    await world.write_events(3)
    await world.start("notifier")
    async with world.listener(after=3) as again:
        await again.reached(6)
        assert again.seqs == [4, 5, 6]
