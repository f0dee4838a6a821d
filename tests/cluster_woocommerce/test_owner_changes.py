"""A WooCommerce store that its owner has changed: restart, upgrade, rollback, a broken release.

One store lives through everything. Its owner acts in wp-admin, as owners do.
"""

import json
import re
from datetime import UTC, datetime
from typing import Any

from tests.cluster_woocommerce.store import Store, create_store
from tests.support.cluster.deployment import Deployment
from tests.support.services.polling import eventually
from tests.support.stores.woocommerce import HEALTH, buy_product, open_visit
from tests.support.stores.woocommerce_owner import (
    buy_as_guest,
    change_settings,
    open_owner_visit,
    rename_shop_page,
    replace_administrator,
    sell_own_products,
)

OPEN = {
    "database": "ok",
    "schema": "current",
    "setup": "done",
    "woocommerce": "active",
    "storefront": "open",
}
#: Options that a release or the passing of time changes; an owner cannot set them.
PLATFORM_OPTIONS = re.compile(
    r"_transient_|_site_transient_|storefleet_|cron$|rewrite_rules$|action_scheduler_|schema-Action"
    r"|wc_pending_batch_processes$|_batch_|_process_lock"
    r"|woocommerce_(version|db_version|queue_flush_rewrite_rules|admin_notices|attribute_lookup_.*)$"
)
OPTIONS = "SELECT option_name, MD5(option_value) FROM wp_options ORDER BY 1"
#: What an owner has written, apart from orders.
CONTENT = (
    "SELECT ID, post_type, post_status, post_name, MD5(CONCAT(post_title, post_content))"
    " FROM wp_posts WHERE post_type NOT LIKE 'shop_order%' ORDER BY 1;"
    "SELECT ID, user_login, user_email, MD5(user_pass) FROM wp_users ORDER BY 1;"
    "SELECT name FROM wp_wc_tax_rate_classes ORDER BY 1;"
    "SELECT term_id, name, slug FROM wp_terms ORDER BY 1"
)
#: The tables of the new release never become current: a migration that does not take.
REFUSE_MIGRATION = (
    "CREATE TRIGGER keep_tables BEFORE UPDATE ON wp_options FOR EACH ROW SET NEW.option_value ="
    " IF(OLD.option_name = 'woocommerce_db_version', OLD.option_value, NEW.option_value)"
)
_DUMP = (
    "printf '[client]\\npassword=%s\\n' \"$(cat /run/secrets/storefleet/database-password)\""
    " > /tmp/test.cnf; mariadb-dump --defaults-extra-file=/tmp/test.cnf --host=127.0.0.1"
    " --user=store --skip-ssl --skip-extended-insert --skip-comments --no-create-info store"
)
_TIME = re.compile(r"20\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d|(?<!\w)1[5-9]\d{8}(?!\w)")


async def test_store_of_owner_survives_restart_upgrade_rollback_and_broken_release(
    deployment: Deployment,
) -> None:
    (engine,) = [
        each
        for each in (await deployment.api.get("/engines")).body["data"]
        if each["name"] == "woocommerce"
    ]
    newest, previous, *_ = [version["version"] for version in engine["versions"]]
    began = datetime.now(UTC)
    async with create_store(deployment, version=previous) as store:
        await check_traces(store, began)
        credentials = await store.read_credentials()
        async with open_owner_visit(store.url, store.at, credentials) as owner:
            await owner.set_order_tables(enabled=False)
            await buy_product(store.url, store.at)
            await sell_own_products(owner)
            await rename_shop_page(owner)
        await restart(store)
        await check_health(store, OPEN)

        async with open_owner_visit(store.url, store.at, credentials) as owner:
            await change_settings(owner)
            credentials = await replace_administrator(owner, store.url, store.at)
        await buy_as_guest(store.url, store.at, "own-3")
        settings = await read_settings(store)
        await restart(store)
        await check_shop(store, settings)

        await check_setup_with_broken_code(store)
        await store.query(REFUSE_MIGRATION)
        broken = await change_version(store, "upgrade", version=newest)
        assert broken["state"] == "failed", broken
        assert "older than this release" in json.dumps(broken), broken
        found = await store.api.store(store.id)
        assert (found["state"], found["engine_version"]) == ("ready", previous)
        await store.query("DROP TRIGGER keep_tables")
        await check_shop(store, settings)

        assert (await change_version(store, "upgrade", version=newest))["state"] == "succeeded"
        await check_shop(store, settings)
        assert (await change_version(store, "rollback"))["state"] == "succeeded"
        await check_shop(store, settings)
        orders = (await store.run_task("orders", STOREFLEET_SINCE=began.isoformat()))["told"]
        assert orders["count"] == await store.query_number(
            "SELECT COUNT(*) FROM wp_posts WHERE post_type = 'shop_order'"
            " AND post_status = 'wc-processing'"
        )
        assert orders["orders"][-1]["total"].endswith(" EUR"), orders

        async with open_owner_visit(store.url, store.at, credentials) as owner:
            await owner.set_coming_soon(is_on=True)
        assert (await change_version(store, "upgrade", version=newest))["state"] == "succeeded"
        await check_health(store, {**OPEN, "storefront": "closed"})
        async with open_owner_visit(store.url, store.at, credentials) as owner:
            await owner.set_coming_soon(is_on=False)
        await check_shop(store, settings)


async def check_traces(store: Store, began: datetime) -> None:
    """Search every row of a new store for names and times of the image's template."""
    rows = (await store.kubectl("exec", "database-0", "--", "sh", "-c", _DUMP)).splitlines()
    assert len(rows) > 500
    names = ("template.localhost", "example.invalid", "storefleet-template")
    assert [row[:300] for row in rows if any(name in row for name in names)] == []
    earliest = began.timestamp() - 60
    old = [
        (moment, row[:120])
        for row in rows
        for moment in _TIME.findall(row)
        if _parse_time(moment) < earliest
    ]
    assert old == []
    async with open_visit(store.url, store.at) as shop:
        users = (await shop.request("GET", "/wp-json/wp/v2/users")).body
        assert [user["url"] for user in users] == [store.url.rstrip("/")]


def _parse_time(text: str) -> float:
    if text.isdigit():
        return float(text)
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


async def restart(store: Store) -> None:
    """Replace the web pod, as a node that is drained does."""
    await store.kubectl("delete", "pod", "-l", "app.kubernetes.io/component=web")
    await store.kubectl("rollout", "status", "deployment/web", "--timeout=120s")


async def check_health(store: Store, expected: dict[str, str]) -> None:
    async def look() -> bool:
        async with open_visit(store.url, store.at) as shop:
            answer = await shop.request("GET", HEALTH)
            assert (answer.status, answer.body) == (200, expected), answer.text[:300]
            return True

    await eventually(look, within=20)


async def read_settings(store: Store) -> dict[str, Any]:
    options = {row[0]: row[1] for row in await store.query(OPTIONS)}
    return {
        "options": {k: v for k, v in options.items() if not PLATFORM_OPTIONS.search(k)},
        "content": await store.query(CONTENT),
    }


async def check_shop(store: Store, settings: dict[str, Any]) -> None:
    """Check that the storefront serves, sells, and that nothing of the owner's has changed."""
    await check_health(store, OPEN)
    async with open_visit(store.url, store.at) as shop:
        front = await shop.request("GET", "/")
        assert (front.status, "We make lamps." in front.text) == (200, True)
        assert (await shop.request("GET", "/wp-login.php")).status == 200
    found = await read_settings(store)
    assert [row for row in settings["content"] if row not in found["content"]] == []
    assert set(settings["options"].items()) - set(found["options"].items()) == set()
    order = await buy_as_guest(store.url, store.at, "own-3")
    assert [str(order)] in await store.query(
        "SELECT ID FROM wp_posts WHERE post_type = 'shop_order'"
    )


async def check_setup_with_broken_code(store: Store) -> None:
    """A set-up ends at once, with status 2, if the plugin is broken or missing."""
    plugin = "/srv/wordpress/wp-content/plugins/woocommerce"
    main = {"woocommerce.php": "<?php\n/* Plugin Name: WooCommerce */\nclass {"}
    await store.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "broken"}, "data": main}
    )
    uncompiled: dict[str, dict[str, Any]] = {"/opt/storefleet/compiled": {"emptyDir": {}}}
    for volume, words in (
        ({"configMap": {"name": "broken"}}, "syntax error"),
        ({"emptyDir": {}}, "lacks the plugin WooCommerce"),
    ):
        pod = await store.start_setup_pod(mode="update", volumes={**uncompiled, plugin: volume})
        assert await store.wait_for_end(pod) == 2
        assert words in await store.kubectl("logs", pod)
        assert await store.wait_for_pod(pod) == "Failed"
    await store.kubectl("delete", "configmap", "broken")


async def change_version(store: Store, verb: str, **fields: Any) -> dict[str, Any]:
    accepted = await store.api.post(f"/stores/{store.id}/{verb}", fields)
    assert accepted.status == 202, accepted.text
    return await store.wait_for_operation(accepted.body["operation"]["id"], within=400)
