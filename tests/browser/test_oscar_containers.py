"""Oscar's container commands run as plain processes: bake, database, setup, serve, and failures."""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
from dataclasses import replace

import asyncpg
import pytest

from storefleet.node.private_files import create_owned_folder, write_file, write_json
from storefleet.node.processes.launcher import run_to_completion
from tests.support.services.platform import free_ports
from tests.support.services.polling import eventually
from tests.support.stores.oscar_containers import (
    HOST,
    PASSWORD,
    READY,
    Containers,
    read_log,
    stop_process,
)
from tests.support.texts.samples import STORE_TITLE


async def test_setup_of_empty_database_makes_store_serve(shop: Containers) -> None:
    assert {path.name for path in (shop.folder / "template").iterdir()} == {
        *("dump.sql", "migrations.txt", "cluster.tar", "files")
    }
    assert await shop.run_command("setup") == 0, read_log(shop, "setup")
    first = await shop.count_rows()
    assert first["catalogue_product"] == 6
    assert (
        await shop.fetch_value("SELECT domain || name FROM django_site") == f"{HOST}{STORE_TITLE}"
    )
    assert await shop.run_command("setup") == 0
    assert await shop.count_rows() == first
    running = shop.start_command("serve")
    try:
        await eventually(shop.is_ready, within=READY)
        status, page = await shop.request_page("/catalogue/", HOST)
        assert (status, "Stoneware Mug" in page, "£18.00" in page) == (200, True, True)
        picture = page.split('src="/media/')[1].split('"')[0]
        assert (shop.folder / "files" / "media" / picture).is_file()
        assert (await shop.request_page("/search/?q=mug", HOST))[1].count("Stoneware Mug") >= 1
        assert [
            (await shop.request_page(path))[0] for path in ("/healthz", "/readyz", "/catalogue/")
        ] == [
            200,
            200,
            400,
        ]
    finally:
        assert await stop_process(running, signal.SIGTERM) < 5
    for secret in (PASSWORD, "admin-password"):
        assert not any(
            secret in read_log(shop, command) for command in ("setup", "serve", "database")
        )
    assert '"path": "/readyz"' not in read_log(shop, "serve")


async def test_setup_killed_during_restore_leaves_nothing_and_next_run_completes(
    shop: Containers,
) -> None:
    assert await shop.run_command("setup") == 0
    whole = await shop.count_rows()
    kills = 0
    seen = []
    for _ in range(8):
        await shop.reset_database()
        kills += await _kill_in_the_middle(shop)
        left = await shop.count_rows()
        seen.append(left)
        assert await shop.run_command("setup") == 0
        assert await shop.count_rows() == whole
    assert all(left in ({}, {**whole, "auth_user": 0}, whole) for left in seen), seen
    assert kills >= 4, "too few processes were killed"
    assert {} in seen, "no process was killed during the restore"


async def _kill_in_the_middle(shop: Containers) -> bool:
    """Kill a set-up while its session is active; return whether the kill hit it."""
    watch = await shop.open_connection()
    running = shop.start_command("setup")
    ended = asyncio.create_task(running.wait_until_ended())
    query = (
        "SELECT pid FROM pg_stat_activity"
        " WHERE application_name LIKE '%set-up' AND state = 'active'"
    )
    try:
        hit = None
        while hit is None and not ended.done():
            hit = await watch.fetchval(query)
            await asyncio.sleep(0)
        await asyncio.sleep(secrets.randbelow(150) / 1000)
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.identity.pid, signal.SIGKILL)
        code = await ended
        gone = (
            "SELECT count(*) = 0 FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND usename = 'store'"
        )

        async def alone() -> bool:
            return bool(await watch.fetchval(gone))  # the server has rolled back

        await eventually(alone, within=10)
        return code == -signal.SIGKILL
    finally:
        await watch.close()


async def test_concurrent_setups_create_one_store(shop: Containers) -> None:
    twin = replace(shop.make_process("setup"), name="setup-twin")
    codes = await asyncio.gather(
        shop.run_command("setup"),
        run_to_completion(twin, records_dir=shop.folder / "pids", timeout_s=120),
    )
    assert codes == [0, 0], read_log(shop, "setup")
    assert (await shop.count_rows())["catalogue_product"] == 6


async def test_setup_of_foreign_database_fails_and_changes_nothing(shop: Containers) -> None:
    await shop.fetch_value("CREATE TABLE public.theirs (x int)")
    assert await shop.run_command("setup") == 2  # a permanent error
    assert "Give the store an empty database" in read_log(shop, "setup").splitlines()[-1]
    assert list(await shop.count_rows()) == ["theirs"]


async def test_serve_waits_for_setup_and_stops_at_once_while_waiting(
    shop: Containers,
) -> None:
    running = shop.start_command("serve")
    await eventually(lambda: "not set up yet" in read_log(shop, "serve"), within=READY)
    assert not await shop.is_ready()
    assert await stop_process(running, signal.SIGTERM) < 5
    running = shop.start_command("serve")
    try:
        await asyncio.sleep(1)
        assert await shop.run_command("setup") == 0
        await eventually(shop.is_ready, within=READY)
    finally:
        await stop_process(running, signal.SIGTERM)


async def test_serve_replaces_incomplete_copies_and_keeps_complete_ones(shop: Containers) -> None:
    files = shop.folder / "files"
    for name in ("media", "index"):
        shutil.rmtree(files / name, ignore_errors=True)
    create_owned_folder(files / ".media.new", shop.account)
    write_file(files / ".media.new" / "half.jpg", "x", readers=shop.account)
    assert await shop.run_command("setup") == 0
    running = shop.start_command("serve")
    try:
        await eventually(shop.is_ready, within=READY)
    finally:
        await stop_process(running, signal.SIGTERM)
    assert not (files / ".media.new").exists()
    assert sorted(path.name for path in (files / "media").iterdir()) == [
        "cache",
        "image_not_found.jpg",
        "products",
    ]
    (files / "media" / "image_not_found.jpg").unlink()
    running = shop.start_command("serve")
    try:
        await eventually(shop.is_ready, within=READY)
    finally:
        await stop_process(running, signal.SIGTERM)
    assert not (files / "media" / "image_not_found.jpg").exists(), (
        "files that the owner deleted stay deleted"
    )


async def test_database_survives_kill_and_interrupted_first_start(
    shop: Containers,
) -> None:
    folder = shop.folder / "other"
    for name in (".", "data.new"):
        create_owned_folder(folder / name, shop.account)
    write_file(folder / "data.new" / "PG_VERSION", "half", readers=shop.account)
    port = free_ports(1)[0]
    settings = create_owned_folder(shop.folder / "other-settings", shop.account)
    for name in ("postgresql.conf", "pg_hba.conf"):
        text = (
            (shop.folder / "settings" / name)
            .read_text()
            .replace(f"port = {shop.port}", f"port = {port}")
        )
        write_file(settings / name, text, readers=shop.account)
    other = replace(shop, port=port)
    where = {"STORE_DATABASE_FOLDER": str(folder), "STORE_DATABASE_SETTINGS": str(settings)}
    for _ in range(2):
        running = other.start_command("database", **where)
        await eventually(other.is_answering, within=READY)
        await other.fetch_value("CREATE TABLE IF NOT EXISTS kept (x int)")
        await stop_process(running, signal.SIGKILL)
    running = other.start_command("database", **where)
    await eventually(other.is_answering, within=READY)
    assert await other.fetch_value("SELECT to_regclass('public.kept') IS NOT NULL")
    client = await other.open_connection()  # a fast shutdown does not wait for clients
    assert await stop_process(running, signal.SIGINT) < 4
    client.terminate()
    assert not (folder / "data.new").exists()


async def test_database_rejects_every_role_but_the_stores(shop: Containers) -> None:
    for user, database, password in (
        ("postgres", "store", ""),
        ("store", "template1", PASSWORD),
        ("store", "store", "wrong"),
    ):
        with pytest.raises(asyncpg.PostgresError):
            await asyncpg.connect(
                host="127.0.0.1",
                port=shop.port,
                user=user,
                database=database,
                password=password,
                timeout=5,
            )


async def test_invalid_configuration_exits_with_one_log_line(shop: Containers) -> None:
    content = json.loads((shop.folder / "store.json").read_text())
    del content["template_dir"]
    write_json(shop.folder / "bare.json", content, owner=shop.account)
    assert await shop.run_command("setup", STORE_CONFIG=str(shop.folder / "bare.json")) == 2
    line = json.loads(read_log(shop, "setup").splitlines()[-1])
    assert line["event"] == "the file that STORE_CONFIG names has no entry 'template_dir'"
    assert await shop.run_command("database", STORE_DATABASE_CLUSTER="") == 2
