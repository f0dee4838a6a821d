"""An Oscar store that its owner has changed: restart, upgrade, rollback, a failed release, mails.

One store lives through everything.
"""

import json
from typing import Any

from tests.support.cluster.deployment import Deployment
from tests.support.cluster.owner_changes import (
    OwnedShop,
    OwnerChange,
    check_change,
    open_owned_shop,
)
from tests.support.stores.oscar import buy_products, open_admin
from tests.support.stores.oscar_addresses import ADDRESSES
from tests.support.stores.oscar_owner import CHANGING, NEW_EMAIL, OWNER_CHANGES

#: Runs SQL with the store's own code and credentials, as JSON from and to the caller.
PROGRAM = """
import json, sys
from storefleet_oscar import configuration, template_restore
statements = json.load(sys.stdin)
with template_restore.connect_database(configuration.load_store().database) as connection:
    for statement in statements:
        cursor = connection.execute(statement)
    print(json.dumps(cursor.fetchall() if cursor.description else [], default=str))
"""
TABLES = (
    "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    " ORDER BY 1"
)
HEALTHY = {
    "database": "ok",
    "schema": "current",
    "setup": "done",
    "search": "ok",
    "storefront": "open",
}
PAGES = ("/catalogue/", "/catalogue/?page=3", "/search/?q=own", "/dashboard/login/", "/basket/")
#: A migration that no other one depends on, and that fails where it was applied before.
MIGRATION = "app = 'storefleet_oscar' AND name = '0001_initial'"


async def run_sql(shop: OwnedShop, *statements: str) -> list[list[Any]]:
    """Run statements in one transaction; return the rows of the last one."""
    output = await shop.run_in_pod(
        "deployment/web", "python", "-c", PROGRAM, stdin=json.dumps(statements)
    )
    rows: list[list[Any]] = json.loads(output.splitlines()[-1])
    return rows


async def read_tables(shop: OwnedShop) -> dict[str, str]:
    """Return a digest of the rows of every table."""
    names = [name for (name,) in await run_sql(shop, TABLES) if name not in CHANGING]
    parts = [
        f"SELECT '{name}', md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM \"{name}\" t"  # noqa: S608
        for name in names
    ]
    rows = await run_sql(shop, " UNION ALL ".join(parts))
    return {str(name): str(digest) for name, digest in rows}


async def read_health(shop: OwnedShop) -> dict[str, str]:
    health: dict[str, str] = json.loads((await shop.request("/storefleet/health")).body)
    return health


async def change_everything(shop: OwnedShop) -> None:
    await run_sql(shop, *OWNER_CHANGES)


async def set_open(shop: OwnedShop, *, is_open: bool) -> None:
    credentials = {**await shop.read_credentials(), "username": NEW_EMAIL}
    async with open_admin(shop.url, credentials, at=shop.at) as admin:
        page = await admin.get("/dashboard/storefront/")
        fields = {"closed_message": "Back in May"} | ({"is_open": "on"} if is_open else {})
        await admin.post("/dashboard/storefront/", fields, page=page)


async def buy(shop: OwnedShop, country: str) -> str:
    return await buy_products(shop.url, title="", sign="", at=shop.at, address=ADDRESSES[country])


async def check_mail(shop: OwnedShop, order: str) -> None:
    """Check that the platform shows the confirmation of an order first, with its text."""
    page = (await shop.api.get(f"/stores/{shop.id}/mail?limit=5")).body
    newest = page["data"][0]
    assert order in newest["subject"], page
    mail = (await shop.api.get(f"/stores/{shop.id}/mail/{newest['id']}")).body
    assert order in mail["text"]
    assert "<html" in mail["html"]


async def test_store_of_owner_survives_changes_and_failed_release(deployment: Deployment) -> None:
    shop = await open_owned_shop(deployment, "oscar")
    assert await read_health(shop) == HEALTHY
    await check_mail(shop, await buy(shop, "US"))

    await check_change(shop, OwnerChange("everything changed", change_everything, pages=PAGES))
    await check_mail(shop, await buy(shop, "HK"))
    tables = await read_tables(shop)
    await shop.restart_web()
    assert await read_tables(shop) == tables, "the restart"

    async def close(shop: OwnedShop) -> None:
        await set_open(shop, is_open=False)
        assert (await shop.request("/")).status == 503

    async def reopen(shop: OwnedShop) -> None:
        await set_open(shop, is_open=True)

    change = OwnerChange(
        "storefront closed", close, storefront="closed_by_owner", pages=PAGES, undo=reopen
    )
    await check_change(shop, change)
    assert await read_health(shop) == HEALTHY
    after = await read_tables(shop)
    # The owner closed the storefront, and signed in, which gives staff a basket, too.
    state = ("storefleet_oscar_storestate", "auth_user", "basket_basket")
    assert {**after, **{name: tables[name] for name in state}} == tables, "the rollback"

    await run_sql(shop, f"DELETE FROM django_migrations WHERE {MIGRATION}")  # noqa: S608
    operation = await shop.change_version()
    assert operation["state"] == "failed", operation
    assert operation["error"]["code"] == "setup_failed", operation
    store = await shop.api.store(shop.id)
    assert (store["state"], store["engine_version"]) == ("ready", shop.versions[1])
    assert (await shop.request("/")).status == 200
    await run_sql(
        shop,
        "INSERT INTO django_migrations (app, name, applied)"
        " VALUES ('storefleet_oscar', '0001_initial', now())",
    )
    operation = await shop.change_version()
    assert operation["state"] == "succeeded", operation
    await check_mail(shop, await buy(shop, "JP"))
    answer = await shop.api.delete(f"/stores/{shop.id}")
    ended = await shop.api.wait_until_done(answer.body["operation"]["id"], within=180)
    assert ended["state"] == "succeeded"
