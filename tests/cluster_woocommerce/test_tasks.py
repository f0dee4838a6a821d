"""The store's tasks as Jobs: dump, orders, restore."""

from datetime import UTC, datetime

from tests.cluster_woocommerce.store import Store
from tests.support.stores.woocommerce import buy_product

ORDERS = "SELECT COUNT(*) FROM wp_wc_orders WHERE type = 'shop_order' AND status = 'wc-processing'"


async def test_restore_of_dump_loses_only_later_orders(store: Store) -> None:
    kept = await buy_product(store.url, store.at)
    dump = await store.run_task("dump", STOREFLEET_DUMP="op-one")
    assert dump["status"] == 0, dump["words"]
    assert dump["told"]["bytes"] > 10_000
    at = datetime.fromisoformat(dump["told"]["at"])
    assert abs((datetime.now(UTC) - at).total_seconds()) < 300
    assert (await store.run_task("dump", STOREFLEET_DUMP="op-one"))["told"] == dump["told"]

    lost = await buy_product(store.url, store.at)
    orders = (await store.run_task("orders", STOREFLEET_SINCE=dump["told"]["at"]))["told"]
    assert (orders["count"], [order["number"] for order in orders["orders"]]) == (1, [str(lost)])
    assert orders["orders"][0]["total"].endswith(" USD")

    await store.query("CREATE TABLE left_by_a_newer_release (id INT)")
    restored = await store.run_task("restore", STOREFLEET_DUMP="op-one")
    assert restored["status"] == 0, restored["words"]
    assert restored["told"] == {"bytes": dump["told"]["bytes"]}
    assert await store.query_number(ORDERS) == 1
    assert [str(kept)] in await store.query("SELECT id FROM wp_wc_orders")
    assert await store.query("SHOW TABLES LIKE 'left_by%'") == []
    assert (await store.run_task("restore", STOREFLEET_DUMP="op-one"))["status"] == 0
    await buy_product(store.url, store.at)


async def test_invalid_task_arguments_exit_with_permanent_error(store: Store) -> None:
    missing = await store.run_task("restore", STOREFLEET_DUMP="op-none")
    assert missing["status"] == 2
    assert "does not exist" in missing["words"]
    assert (await store.run_task("dump", STOREFLEET_DUMP="../escape"))["status"] == 2
    assert (await store.run_task("orders", STOREFLEET_SINCE="yesterday"))["status"] == 2


async def test_dump_keeps_newest_three(store: Store) -> None:
    for name in ("op-two", "op-three", "op-four"):
        assert (await store.run_task("dump", STOREFLEET_DUMP=name))["status"] == 0
    assert (await store.run_task("restore", STOREFLEET_DUMP="op-one"))["status"] == 2
    assert (await store.run_task("restore", STOREFLEET_DUMP="op-two"))["status"] == 0
