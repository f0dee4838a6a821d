"""An Oscar store belongs to its owner: set-ups and restarts leave alone what owners change."""

import json
import re
import signal

import aiohttp

from storefleet.node.private_files import write_json
from tests.support.services.polling import eventually
from tests.support.stores.oscar import (
    fill_address,
    find_order_number,
    open_admin,
    place_order,
    put_in_basket,
    visit,
)
from tests.support.stores.oscar_containers import (
    HOST,
    READY,
    SIGN_IN,
    Containers,
    read_log,
    stop_process,
)
from tests.support.stores.oscar_owner import CHANGING, NEW_EMAIL, OWNER_CHANGES

UPDATE = {"STORE_SETUP_MODE": "update"}
#: A migration that is idempotent and that no other one depends on.
MIGRATION = "app = 'auth' AND name = '0012_alter_user_first_name_max_length'"
NEW_ADMIN = {"username": NEW_EMAIL, "password": SIGN_IN["password"]}


async def change_store(shop: Containers) -> None:
    """Change everything that an owner can, in a store that serves."""
    for statement in OWNER_CHANGES:
        await shop.fetch_value(statement)


async def read_tables(shop: Containers) -> dict[str, str]:
    """Return a digest of the rows of every table."""
    connection = await shop.open_connection()
    try:
        names = await connection.fetch(
            "SELECT relname FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        query = 'SELECT md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM public."{}" t'
        return {
            name: await connection.fetchval(query.format(name)) or ""
            for name in sorted(record[0] for record in names)
            if name not in CHANGING
        }
    finally:
        await connection.close()


async def read_health(shop: Containers) -> dict[str, str]:
    """Request the health under a name that is not the store's; it is compact JSON, never cached."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{shop.at}/storefleet/health", headers={"Host": "10.0.0.1"}) as response,
    ):
        text = await response.text()
        assert (response.status, response.headers["Cache-Control"]) == (200, "no-store")
        assert " " not in text
        health: dict[str, str] = json.loads(text)
        return health


async def buy_anything(shop: Containers) -> str | None:
    async with visit(shop.url, at=shop.at) as visitor:
        await put_in_basket(visitor)
        await fill_address(visitor)
        page = await place_order(visitor, await visitor.get("/checkout/preview/"))
        return find_order_number(page)


HEALTHY = {
    "database": "ok",
    "schema": "current",
    "setup": "done",
    "search": "ok",
    "storefront": "open",
}


async def test_update_and_restart_of_changed_store_change_no_row(shop: Containers) -> None:
    assert await shop.run_command("setup") == 0, read_log(shop, "setup")
    async with shop.serve():
        assert await buy_anything(shop)
        await change_store(shop)
        assert await buy_anything(shop)
    changed = await read_tables(shop)
    for mode in ("update", "install"):  # the second is what a repeated creation runs
        await shop.fetch_value(f"DELETE FROM django_migrations WHERE {MIGRATION}")  # noqa: S608
        assert await shop.run_command("setup", STORE_SETUP_MODE=mode) == 0, read_log(shop, "setup")
        query = f"SELECT count(*) FROM django_migrations WHERE {MIGRATION}"  # noqa: S608
        assert await shop.fetch_value(query) == 1
        assert await read_tables(shop) == changed, mode
    async with shop.serve():
        assert await read_health(shop) == HEALTHY
        assert (await shop.request_page("/", HOST))[0] == 200
        assert await read_tables(shop) == changed, "a start"
        assert await buy_anything(shop)
        async with open_admin(shop.url, NEW_ADMIN, at=shop.at) as admin:
            assert "boss" not in await admin.get("/dashboard/")
            # A new price has the currency of the others, not that of the store's creation.
            page = await admin.get("/dashboard/catalogue/products/create/goods/")
            assert 'name="stockrecords-0-price_currency" value="CHF"' in page


async def test_update_of_store_of_earlier_version_adds_tables_only(shop: Containers) -> None:
    assert await shop.run_command("setup") == 0
    await change_store(shop)
    await _remove_own_tables(shop)
    changed = await read_tables(shop)
    assert await shop.run_command("setup", **UPDATE) == 0, read_log(shop, "setup")
    after = await read_tables(shop)
    assert {name: after[name] for name in changed} == changed
    assert sorted(set(after) - set(changed)) == [
        "storefleet_oscar_outboxmail",
        "storefleet_oscar_storestate",
    ]
    async with shop.serve():
        assert await read_health(shop) == HEALTHY
    assert {name: (await read_tables(shop))[name] for name in changed} == changed


async def test_local_store_of_earlier_version_gets_tables_at_start(shop: Containers) -> None:
    assert await shop.run_command("setup") == 0
    await _remove_own_tables(shop)
    changed = await read_tables(shop)
    content = json.loads((shop.folder / "store.json").read_text())
    del content["template_dir"]
    write_json(shop.folder / "local.json", content, owner=shop.account)
    running = shop.start_command("serve", STORE_CONFIG=str(shop.folder / "local.json"))
    try:
        await eventually(shop.is_ready, within=READY)
        assert await read_health(shop) == HEALTHY
        after = await read_tables(shop)
        assert {name: after[name] for name in changed} == changed
        assert await buy_anything(shop)
        assert await shop.fetch_value("SELECT count(*) FROM storefleet_oscar_outboxmail") == 1
    finally:
        await stop_process(running, signal.SIGTERM)


async def _remove_own_tables(shop: Containers) -> None:
    """Make the database one of a version that had neither an outbox nor a state."""
    await shop.fetch_value("DROP TABLE storefleet_oscar_outboxmail, storefleet_oscar_storestate")
    await shop.fetch_value("DELETE FROM django_migrations WHERE app = 'storefleet_oscar'")


async def test_update_of_empty_database_fails_and_leaves_it_empty(shop: Containers) -> None:
    assert await shop.run_command("setup", **UPDATE) == 2
    assert "Restore a dump of the store" in read_log(shop, "setup").splitlines()[-1]
    assert await shop.count_rows() == {}
    assert await shop.run_command("setup", STORE_SETUP_MODE="other") == 2


async def test_site_follows_address_of_platform_unless_owner_changed_it(shop: Containers) -> None:
    assert await shop.run_command("setup") == 0
    domain = "SELECT domain FROM django_site"
    content = json.loads((shop.folder / "store.json").read_text())
    write_json(
        shop.folder / "moved.json",
        {**content, "url": f"http://{HOST}:8123/"},
        owner=shop.account,
    )
    for expected in (f"{HOST}:8123", "shop.example.com"):
        running = shop.start_command("serve", STORE_CONFIG=str(shop.folder / "moved.json"))
        try:
            await eventually(shop.is_ready, within=READY)
            assert await shop.fetch_value(domain) == expected
        finally:
            await stop_process(running, signal.SIGTERM)
        await shop.fetch_value("UPDATE django_site SET domain = 'shop.example.com'")


async def test_health_names_part_that_does_not_work(shop: Containers) -> None:
    assert await shop.run_command("setup") == 0
    async with shop.serve():
        assert await read_health(shop) == HEALTHY
        await shop.fetch_value(f"DELETE FROM django_migrations WHERE {MIGRATION}")  # noqa: S608
        assert await read_health(shop) == {**HEALTHY, "schema": "pending"}
        await shop.fetch_value("ALTER TABLE catalogue_product RENAME TO gone")
        assert (await read_health(shop))["search"] == "failed"
        await shop.fetch_value("ALTER TABLE gone RENAME TO catalogue_product")
        await shop.fetch_value("DROP SCHEMA public CASCADE")
        health = await read_health(shop)
        assert (health["database"], health["schema"]) == ("ok", "pending")
        assert (await shop.request_page("/readyz"))[0] == 200
        await shop.fetch_value("CREATE SCHEMA public")


async def test_owner_closes_and_opens_storefront_on_dashboard(shop: Containers) -> None:
    assert await shop.run_command("setup") == 0
    async with shop.serve(), open_admin(shop.url, SIGN_IN, at=shop.at) as admin:
        page = await admin.get("/dashboard/storefront/")
        page = await admin.post(
            "/dashboard/storefront/", {"closed_message": "Back in <May>"}, page=page
        )
        assert "The storefront is closed" in page
        assert (await read_health(shop))["storefront"] == "closed"
        for path in ("/", "/catalogue/", "/basket/", "/checkout/", "/accounts/login/"):
            status, text = await shop.request_page(path, HOST)
            assert (status, "Back in &lt;May&gt;" in text) == (503, True), path
        assert (await shop.request_page("/dashboard/login/", HOST))[0] == 200
        assert (await shop.request_page("/readyz"))[0] == 200
        assert "Stoneware Mug" in await admin.get("/catalogue/"), "staff see the store"
        page = await admin.get("/dashboard/storefront/")
        await admin.post("/dashboard/storefront/", {"is_open": "on"}, page=page)
        assert await read_health(shop) == HEALTHY
        assert (await shop.request_page("/", HOST))[0] == 200
        navigation = await admin.get("/dashboard/")
        assert re.search(r'href="/dashboard/storefront/"', navigation)
