"""The relay: one at a time, in order, numbered without gaps, also across NATS outages."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

from prometheus_client import REGISTRY

from services.gateway.relay import Relay
from storefleet.core.messages import LIVE_EVENT_SUBJECT_PREFIX
from storefleet.database.outbox_rows import OutboxRow
from storefleet.database.pool import Database
from storefleet.database.repositories.outbox import PublishedRows
from storefleet.messaging import MessageBus
from tests.support.services.polling import eventually
from tests.support.services.world import World

STORES = [f"sto_{letter * 16}" for letter in "abcdef"]


@asynccontextmanager
async def relay(world: World, **overrides: Any) -> AsyncIterator[asyncio.Task[None]]:
    """Run a gateway's relay without the gateway."""
    settings = world.settings("gateway", **overrides)
    database = Database(settings.database_url.get_secret_value(), max_connections=3)
    bus = MessageBus(settings.nats_url.get_secret_value(), name="gateway")
    async with database.open_pool(), bus.open_connection():
        task = asyncio.create_task(Relay(database=database, bus=bus).run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def live(world: World) -> AsyncIterator[list[dict[str, Any]]]:
    """Collect every message of the live subject."""
    heard: list[dict[str, Any]] = []

    async def keep(message: Any) -> None:
        heard.append(json.loads(message.data))

    async with world.servers.nats_client("notifier") as client:
        await client.subscribe(f"{LIVE_EVENT_SUBJECT_PREFIX}.>", cb=keep)
        await client.flush()
        yield heard


async def publish(world: World, count: int, *, seed: int = 1) -> None:
    """Write events of several stores from several concurrent writers."""
    chance = random.Random(seed)
    batches = []
    while count > 0:
        batch = min(count, chance.randint(1, 6))
        batches.append(batch)
        count -= batch
    for start in range(0, len(batches), len(STORES)):
        now = batches[start : start + len(STORES)]
        await asyncio.gather(
            *(world.write_events(n, store_id=STORES[i]) for i, n in enumerate(now))
        )


async def all_published(world: World, count: int, *, within: float = 20) -> None:
    async def look() -> bool:
        found = await world.value("SELECT published_seq FROM relay")
        assert (found, await world.count_unpublished()) == (count, 0)
        return True

    await eventually(look, within=within)


async def numbers_are_whole(world: World, count: int) -> None:
    """Check numbers from 1 without gaps, and each store's events in the order of writing."""
    rows = await world.fetch("SELECT seq, store_id, data FROM events ORDER BY seq")
    assert [row["seq"] for row in rows] == list(range(1, count + 1))
    assert await world.last_seq() == count
    for store in STORES:
        own = [row["data"]["number"] for row in rows if row["store_id"] == store]
        assert own == list(range(1, len(own) + 1))


async def test_two_relays_publish_once_in_order(world: World) -> None:
    async with live(world) as heard, relay(world) as first, relay(world):
        await publish(world, 300)
        await all_published(world, 300)
        owner = await world.value("SELECT owner FROM relay")
        assert owner
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await publish(world, 300, seed=2)
        await all_published(world, 600)
        await numbers_are_whole(world, 600)
        await eventually(lambda: len(heard) == 600)
        assert [message["seq"] for message in heard] == list(range(1, 601))
        assert len({message["id"] for message in heard}) == 600


async def test_stopped_relay_releases_lease_at_once(world: World) -> None:
    async with relay(world) as first:
        await world.write_events(1)
        await all_published(world, 1)
        holder = await world.value("SELECT owner FROM relay")
        async with relay(world):
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            assert await world.value("SELECT owner FROM relay") != holder
            await world.write_events(1)
            await all_published(world, 2, within=3)  # not only after the lease of five seconds


async def test_killed_relay_loses_and_duplicates_nothing(world: World) -> None:
    """Two gateways run as processes; the one that relays is killed while it publishes."""
    ports = [world.port["gateway"], world.ports.take()]
    gateways = await asyncio.gather(*(world.service("gateway", port=port) for port in ports))
    await world.start("notifier")
    async with live(world) as heard, world.listener(after=0) as listener:
        publishing = asyncio.create_task(publish(world, 1500))
        await eventually(lambda: len(heard) > 200)
        owner = str(await world.value("SELECT owner FROM relay"))
        holder = next(gateway for gateway in gateways if f":{gateway.pid}:" in owner)
        await holder.kill()
        await publishing
        await all_published(world, 1500)
        await numbers_are_whole(world, 1500)
        assert f":{holder.pid}:" not in str(await world.value("SELECT owner FROM relay"))
        await eventually(lambda: len(heard) >= 1500)
        assert len({message["id"] for message in heard}) == len(heard) == 1500
        await listener.reached(1500)
        assert listener.seqs == list(range(1, 1501))


async def test_relay_with_expired_lease_publishes_nothing_twice(world: World) -> None:
    """It takes a batch, loses its lease, and publishes what another relay has published."""
    lease = timedelta(seconds=0.2)
    async with live(world) as heard, AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            Database(world.settings().database_url.get_secret_value()).open_pool()
        )
        bus = MessageBus(world.settings().nats_url.get_secret_value(), name="gateway")
        await stack.enter_async_context(bus.open_connection())
        await eventually(lambda: bus.is_connected)
        await world.write_events(10)
        async with database.autocommit() as db:
            taken = await db.outbox.take_batch(
                owner="deposed",
                lease_duration=lease,
                batch_size=200,
                published=PublishedRows(),
                sent_seq=0,
            )
            assert taken is not None
            assert [row.seq for row in taken] == list(range(1, 11))
            assert (
                await db.outbox.take_batch(
                    owner="other",
                    lease_duration=lease,
                    batch_size=200,
                    published=PublishedRows(),
                    sent_seq=0,
                )
                is None
            )
        async with relay(world):
            await world.write_events(5)
            await all_published(world, 15)
            late = Relay(database=database, bus=bus)
            assert await late._publish_rows(taken) == (PublishedRows((), 10), True)
            await world.write_events(1)
            await all_published(world, 16)
            await eventually(lambda: len(heard) == 16)
        assert [message["seq"] for message in heard] == list(range(1, 17))
        await numbers_are_whole_of_one(world, 16)


async def numbers_are_whole_of_one(world: World, count: int) -> None:
    rows = await world.fetch("SELECT seq, data FROM events ORDER BY seq")
    assert [(row["seq"], row["data"]["number"]) for row in rows] == [
        (n, n) for n in range(1, count + 1)
    ]


async def test_late_commit_gets_later_sequence_number(world: World) -> None:
    await world.start("gateway", "notifier")
    async with world.listener(after=0) as listener:
        async with world.database.transaction() as tx:
            await tx.connection.execute(
                "INSERT INTO outbox (id, kind, subject, type, tenant_id, store_id, data) VALUES "
                "('evt_late', 'event',"
                " 'storefleet.events.v1.t.s.step', 'store.step', $1, 'sto_late', '{}')",
                world.admin.tenant_id,
            )
            await world.write_events(3)
            await listener.reached(3)
        await listener.reached(4)
        assert listener.seqs == [1, 2, 3, 4]
        assert [frame["store_id"] for frame in listener.frames][3] == "sto_late"


async def test_concurrent_commits_are_numbered_before_publish(world: World) -> None:
    """Rows committed while the relay takes a batch must not be sent without a number."""
    async with live(world) as heard, relay(world):
        await asyncio.gather(*(_one_by_one(world, store, 60) for store in STORES))
        await all_published(world, 360)
        await eventually(lambda: len(heard) == 360)
        assert sorted(message["seq"] for message in heard) == list(range(1, 361))


async def _one_by_one(world: World, store_id: str, count: int) -> None:
    for _ in range(count):
        await world.write_events(1, store_id=store_id)


async def test_outbox_keeps_rows_while_nats_is_unavailable(world: World) -> None:
    port, proxy = await world.proxy(world.servers.nats_port)
    async with live(world) as heard, relay(world, nats_port=port):
        await world.write_events(5)
        await all_published(world, 5)
        await proxy.cut()
        await world.write_events(20)
        assert await world.count_unpublished() == 20
        await proxy.mend()
        await all_published(world, 25)
        await eventually(lambda: len(heard) == 25)
        proxy.freeze()  # connected, but without responses
        await world.write_events(5)
        await asyncio.sleep(0.5)
        await proxy.mend()
        await all_published(world, 30)
        await eventually(lambda: len(heard) == 30)
        assert [message["seq"] for message in heard] == list(range(1, 31))


async def test_oversized_message_does_not_block_outbox(world: World) -> None:
    """NATS rejects the message; the event history still contains it."""
    async with live(world) as heard, relay(world):
        await world.write_events(1)
        await world.write_events(1, padding=140_000)  # more than a stream takes
        await world.write_events(1, padding=1_100_000)  # more than the server takes
        await world.write_events(1)
        await all_published(world, 4)
        await eventually(lambda: len(heard) == 2)
        assert [message["seq"] for message in heard] == [1, 4]
    assert await world.value("SELECT array_agg(seq ORDER BY seq) FROM events") == [1, 2, 3, 4]


async def test_unencodable_row_does_not_block_outbox(
    world: World, logged: Callable[[], str]
) -> None:
    """The relay's task continues; the row is logged, counted and deleted."""
    before = REGISTRY.get_sample_value("storefleet_outbox_rows_dropped_total", {"kind": "raw"}) or 0
    async with live(world) as heard, relay(world) as task:
        await world.write_events(1)
        for message_id, data in (("msg_no_bytes", {}), ("msg_not_base64", {"base64": "abc"})):
            broken = OutboxRow(
                message_id, "raw", "storefleet.dead.v1.x", "storefleet.raw", None, None, None, data
            )
            async with world.database.transaction() as tx:
                await tx.outbox.add(broken)
            await world.write_events(1)
        await all_published(world, 3)
        await eventually(lambda: len(heard) == 3)
        assert not task.done()
        assert [message["seq"] for message in heard] == [1, 2, 3]
    assert logged().count("relay_row_dropped") == 2
    assert "msg_no_bytes" in logged()
    assert "msg_not_base64" in logged()
    assert (
        REGISTRY.get_sample_value("storefleet_outbox_rows_dropped_total", {"kind": "raw"})
        == before + 2
    )


async def test_unencodable_event_counts_as_published(world: World) -> None:
    """The history contains it, and later events are not sent again and again."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            Database(world.settings().database_url.get_secret_value()).open_pool()
        )
        bus = MessageBus(world.settings().nats_url.get_secret_value(), name="gateway")
        await stack.enter_async_context(bus.open_connection())
        await eventually(lambda: bus.is_connected)
        await world.write_events(3)
        async with database.autocommit() as db:
            taken = await db.outbox.take_batch(
                owner="x",
                lease_duration=timedelta(seconds=5),
                batch_size=200,
                published=PublishedRows(),
                sent_seq=0,
            )
        assert taken is not None
        taken[1] = taken[1]._replace(time="yesterday")
        publisher = Relay(database=database, bus=bus)
        assert await publisher._publish_rows(taken) == (PublishedRows((), 3), True)
        assert await publisher._publish_rows(taken[1:2]) == (PublishedRows((), 2), True)


async def test_unencodable_command_does_not_stop_relay(world: World) -> None:
    """The direct publish fails; the relay's loop takes the row later."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            Database(world.settings().database_url.get_secret_value()).open_pool()
        )
        bus = MessageBus(world.settings().nats_url.get_secret_value(), name="gateway")
        await stack.enter_async_context(bus.open_connection())
        await eventually(lambda: bus.is_connected)
        broken = OutboxRow(
            "cmd_x", "command", "x", "storefleet.create", None, None, None, {"never": object()}
        )
        assert await Relay(database=database, bus=bus)._send_early(broken) is False


async def test_nats_restart_loses_nothing(world: World) -> None:
    await world.start()
    await world.api.create_ready_store("before")
    async with world.listener(after=0) as listener:
        publishing = asyncio.create_task(publish(world, 400))
        await asyncio.sleep(0.1)
        await world.servers.stop_nats()
        accepted = [await world.api.create(f"meanwhile-{n}") for n in range(3)]
        await publishing
        await world.servers.start_nats()
        for each in accepted:
            assert (await world.api.wait_until_done(each["operation"]["id"], within=20))[
                "state"
            ] == "succeeded"
        last = await world.wait_until_settled()
        await listener.reached(last, within=20)
        assert listener.seqs == list(range(1, last + 1))


async def test_loss_of_all_streams_loses_nothing(world: World) -> None:
    await world.start("gateway", "notifier")
    accepted = [await world.api.create(f"store-{n}") for n in range(5)]
    await eventually(world.all_sent)  # the commands are in the stream and unacknowledged
    async with world.listener(after=0) as listener:
        await world.servers.delete_streams()
        also = await world.api.create("without-streams")
        await world.servers.ensure_streams()
        await world.start("provisioner", "reaper")
        for each in (*accepted, also):
            assert (await world.api.wait_until_done(each["operation"]["id"]))[
                "state"
            ] == "succeeded"
        last = await world.wait_until_settled()
        await listener.reached(last)
        assert listener.seqs == list(range(1, last + 1))
    async with world.listener(after=0) as later:  # the history is read from the database
        await later.reached(last)
        assert later.seqs == list(range(1, last + 1))


async def test_expired_messages_are_deleted_and_numbers_continue(world: World) -> None:
    async with relay(world):
        await world.write_events(10)
        await all_published(world, 10)
    await world.execute("UPDATE events SET time = now() - interval '8 days'")
    async with world.database.transaction() as tx:
        assert await tx.events.purge_published(retention=timedelta(days=7)) == 10
        assert await tx.events.read_bounds() == (11, 10)
    async with relay(world):
        await world.write_events(1)
        await all_published(world, 11)
    assert await world.value("SELECT seq FROM events") == 11
