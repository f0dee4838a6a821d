"""Oscar's tasks around an upgrade, run as plain processes: dump, restore, orders, set-up."""

import json
import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.support.services.polling import eventually
from tests.support.stores.oscar import buy_products
from tests.support.stores.oscar_containers import (
    HOST,
    PASSWORD,
    READY,
    Containers,
    read_log,
    stop_process,
)
from tests.support.texts.samples import STORE_TITLE

SINCE = "2020-01-01T00:00:00.000Z"
#: A migration that is idempotent and that no other one depends on.
CHANGE = "app = 'auth' AND name = '0012_alter_user_first_name_max_length'"


async def run_task(shop: Containers, task: str, name: str, **environment: str) -> dict[str, Any]:
    """Run a task and return its result."""
    code = await shop.run_command(task, STOREFLEET_DUMP=name, **environment)
    assert code == 0, read_log(shop, task)[-2000:]
    assert PASSWORD not in read_log(shop, task)
    answer: dict[str, Any] = json.loads((shop.folder / "tmp" / "answer").read_text())
    return answer


def list_dumps(shop: Containers) -> list[Path]:
    return sorted((shop.folder / "backups").iterdir())


async def test_restore_brings_back_complete_dump(shop: Containers) -> None:
    """Repeated, and over tables of a later version."""
    assert await shop.run_command("setup") == 0
    before = await shop.count_rows()
    answer = await run_task(shop, "dump", "op_first")
    assert answer["bytes"] == (shop.folder / "backups" / "op_first.dump").stat().st_size > 100_000
    assert abs((datetime.now(UTC) - datetime.fromisoformat(answer["at"])).total_seconds()) < 60
    for _ in range(2):
        await shop.fetch_value("CREATE TABLE public.later (site int REFERENCES django_site)")
        await shop.fetch_value("DELETE FROM catalogue_productimage")
        assert await shop.count_rows() != before
        assert await run_task(shop, "restore", "op_first") == {"bytes": answer["bytes"]}
        assert await shop.count_rows() == before
    assert await shop.run_command("setup") == 0
    assert await shop.count_rows() == before


async def test_dump_keeps_existing_file_and_newest_three(shop: Containers) -> None:
    assert await shop.run_command("setup") == 0
    first = await run_task(shop, "dump", "op_kept")
    (shop.folder / "backups" / "op_killed.new").write_bytes(b"half")
    assert await run_task(shop, "dump", "op_kept") == first
    for number in range(3):
        await run_task(shop, "dump", f"op_{number}")
    assert [path.name for path in list_dumps(shop)] == ["op_0.dump", "op_1.dump", "op_2.dump"]


async def test_restore_of_invalid_dump_changes_nothing(shop: Containers) -> None:
    assert await shop.run_command("setup") == 0
    before = await shop.count_rows()
    await run_task(shop, "dump", "op_whole")
    whole = (shop.folder / "backups" / "op_whole.dump").read_bytes()
    broken = shop.folder / "backups" / "op_broken.dump"
    for size in (0, len(whole) // 2, len(whole) - 10):
        broken.write_bytes(whole[:size])
        broken.chmod(0o644)
        assert await shop.run_command("restore", STOREFLEET_DUMP="op_broken") == 2
        assert "The database is unchanged" in read_log(shop, "restore").splitlines()[-1]
        assert await shop.count_rows() == before
    assert await shop.run_command("restore", STOREFLEET_DUMP="op_none") == 2
    for name in ("", "../op_whole", "a b"):
        assert await shop.run_command("restore", STOREFLEET_DUMP=name) == 2
    assert await shop.count_rows() == before


async def test_restore_killed_midway_changes_nothing(shop: Containers) -> None:
    assert await shop.run_command("setup") == 0
    before = await shop.count_rows()
    await run_task(shop, "dump", "op_first")
    watch = await shop.open_connection()
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'psql' AND state IS NOT NULL"
    running = shop.start_command("restore", STOREFLEET_DUMP="op_first")
    await eventually(lambda: watch.fetchval(query), within=READY, every=0.002)
    os.kill(running.identity.pid, signal.SIGKILL)
    await running.wait_until_ended()
    alone = "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'psql'"
    await eventually(lambda: watch.fetchval(alone), within=READY)
    await watch.close()
    assert await shop.count_rows() == before
    assert await run_task(shop, "restore", "op_first")
    assert await shop.count_rows() == before


async def test_orders_lists_orders_since_time_after_setup_of_later_version(
    shop: Containers,
) -> None:
    assert await shop.run_command("setup") == 0
    await shop.fetch_value(f"DELETE FROM django_migrations WHERE {CHANGE}")  # noqa: S608
    words = "the database is not set up yet"
    known = read_log(shop, "serve").count(words) if shop.get_log_path("serve").exists() else 0
    running = shop.start_command("serve")
    try:
        await eventually(lambda: read_log(shop, "serve").count(words) > known, within=READY)
        assert not await shop.is_ready(), "its tables are those of an older version"
        assert await shop.run_command("setup") == 0
        assert await shop.fetch_value(f"SELECT count(*) FROM django_migrations WHERE {CHANGE}") == 1  # noqa: S608
        await eventually(shop.is_ready, within=READY)
        assert await run_task(shop, "orders", "op_x", STOREFLEET_SINCE=SINCE) == {
            "count": 0,
            "orders": [],
        }
        number = await buy_products(
            f"http://{HOST}/",
            title=STORE_TITLE,
            sign="£",
            at=f"http://127.0.0.1:{shop.shop_port}",
        )
    finally:
        await stop_process(running, signal.SIGTERM)
    answer = await run_task(shop, "orders", "op_x", STOREFLEET_SINCE=SINCE)
    (order,) = answer["orders"]
    assert (answer["count"], order["number"], order["total"].partition(" ")[0]) == (
        1,
        number,
        "GBP",
    )
    assert await run_task(shop, "orders", "op_x", STOREFLEET_SINCE=order["at"][:-1] + "999Z") == {
        "count": 0,
        "orders": [],
    }
    assert (
        await shop.run_command("orders", STOREFLEET_DUMP="op_x", STOREFLEET_SINCE="yesterday") == 2
    )
