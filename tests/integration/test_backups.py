"""Backup and restore of the platform's database; the platform continues afterwards."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from storefleet.deployment.backups import create_backup, list_backups, restore_backup
from storefleet.deployment.deployment_error import DeploymentError
from storefleet.node.servers.roles import MAINTENANCE_DATABASE, PLATFORM_ROLE, SUPERUSER
from tests.support.services.polling import eventually
from tests.support.services.world import World


def url_of(world: World) -> str:
    return world.settings().database_url.get_secret_value()


async def administer(world: World, *statements: str) -> None:
    connection: Any = await asyncpg.connect(
        world.servers._postgres.make_url(SUPERUSER, MAINTENANCE_DATABASE)
    )
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def lose(world: World) -> None:
    """Replace the database by an empty one, as set-up creates it after a lost disk."""
    name = world.database_name
    await administer(
        world,
        f'DROP DATABASE "{name}" WITH (FORCE)',
        f'CREATE DATABASE "{name}" OWNER {PLATFORM_ROLE}',
    )


async def history(world: World) -> list[tuple[int, str]]:
    """Return number and id of every numbered event; recent events get theirs shortly after."""
    connection: Any = await asyncpg.connect(url_of(world))
    try:

        async def told() -> bool:
            return not await connection.fetchval("SELECT count(*) FROM outbox WHERE kind = 'event'")

        await eventually(told)
        return [
            tuple(row) for row in await connection.fetch("SELECT seq, id FROM events ORDER BY seq")
        ]
    finally:
        await connection.close()


async def test_backup_restores_lost_database(world: World, tmp_path: Path) -> None:
    await world.start()
    kept = await world.api.create("kept")
    await world.api.wait_until_done(kept["operation"]["id"])
    events = await history(world)
    backup = await create_backup(url_of(world), tmp_path, keep_count=3)
    assert backup.size_bytes > 1000
    assert (tmp_path / backup.name).stat().st_mode & 0o777 == 0o600
    forgotten = await world.api.create("forgotten")
    await world.api.wait_until_done(forgotten["operation"]["id"])

    await world.stop()
    await lose(world)
    assert await restore_backup(url_of(world), tmp_path, "latest") == backup

    await world.start()
    store = await world.api.store("kept")
    assert (store["id"], store["state"]) == (kept["store"]["id"], "ready")
    assert (await world.api.get("/stores/forgotten")).status == 404
    operation = (await world.api.get(f"/operations/{kept['operation']['id']}")).body
    assert (operation["state"], [step["state"] for step in operation["steps"]]) == (
        "succeeded",
        ["succeeded"],
    )
    assert (await history(world))[: len(events)] == events

    last = max(seq for seq, _ in events)
    async with world.listener(after=last) as listener:
        new = await world.api.create("new")
        await listener.wait_for_frame("store.ready", store_id=new["store"]["id"])
        deleted = await world.api.delete("/stores/kept")
        await world.api.wait_until_done(deleted.body["operation"]["id"])
        await listener.wait_for_frame("store.deleted", store_id=store["id"])
    # The lost events used numbers that no later event may have.
    assert min(listener.seqs) > last + 1000
    assert (await world.api.get("/stores/kept")).status == 404


async def test_only_newest_complete_backups_are_kept(world: World, tmp_path: Path) -> None:
    (tmp_path / "storefleet-20200101T000000Z.dump.part").write_text("half")
    (tmp_path / "notes.txt").write_text("not ours")
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    for day in range(5):
        await create_backup(url_of(world), tmp_path, keep_count=3, now=begin + timedelta(days=day))
    names = [backup.name for backup in list_backups(tmp_path)]
    assert names == [f"storefleet-2026010{day}T000000Z.dump" for day in (5, 4, 3)]
    assert {path.name for path in tmp_path.iterdir()} == {*names, "notes.txt"}


async def test_unusable_backup_changes_nothing(world: World, tmp_path: Path) -> None:
    await world.start("gateway")
    backup = await create_backup(url_of(world), tmp_path, keep_count=3)
    await world.api.create("still-here")
    whole = (tmp_path / backup.name).read_bytes()
    for name, content in (
        ("storefleet-20270101T000000Z.dump", b"no dump"),
        ("storefleet-20270102T000000Z.dump", whole[: len(whole) * 3 // 4]),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DeploymentError, match=name):
            await restore_backup(url_of(world), tmp_path, name)
        assert (await world.api.get("/stores/still-here")).status == 200
    with pytest.raises(DeploymentError, match="Existing: storefleet-"):
        await restore_backup(url_of(world), tmp_path, "storefleet-20000101T000000Z.dump")
    assert (await world.api.get("/stores/still-here")).status == 200


async def test_unavailable_server_error_hides_password(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match="pg_dump") as told:
        await create_backup("postgresql://who:hush@127.0.0.1:9/db", tmp_path, keep_count=1)
    assert "hush" not in str(told.value)
    assert list(tmp_path.iterdir()) == []
