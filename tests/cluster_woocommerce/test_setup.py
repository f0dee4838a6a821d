"""The set-up repeated and killed at any point creates one site, one set of products, one admin."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.cluster_woocommerce.store import Store
from tests.support.stores.woocommerce import buy_product, open_admin_visit

_EMPTY = "DROP DATABASE store; CREATE DATABASE store CHARACTER SET utf8mb4"
#: Statements that count rows, and the expected counts.
COUNTS = {
    "SELECT COUNT(*) FROM wp_options WHERE option_name = 'siteurl'": 1,
    "SELECT COUNT(*) FROM wp_users": 1,
    "SELECT COUNT(*) FROM wp_usermeta"
    " WHERE meta_key = 'wp_capabilities' AND meta_value LIKE '%administrator%'": 1,
    "SELECT COUNT(*) FROM wp_posts WHERE post_type = 'product' AND post_status = 'publish'": 6,
    "SELECT COUNT(*) FROM wp_posts WHERE post_type = 'product'": 6,
    "SELECT COUNT(DISTINCT sku) FROM wp_wc_product_meta_lookup": 6,
    "SELECT COUNT(*) FROM wp_posts"
    " WHERE post_type = 'attachment' AND post_mime_type = 'image/jpeg'": 6,
    "SELECT COUNT(*) FROM wp_posts WHERE post_type = 'page' AND post_status = 'publish'": 4,
    "SELECT COUNT(*) FROM wp_posts WHERE post_type = 'post'": 0,
    "SELECT COUNT(*) FROM wp_woocommerce_shipping_zone_methods": 1,
    "SELECT COUNT(*) FROM wp_term_taxonomy WHERE taxonomy = 'product_cat'": 4,
}


async def check_store(store: Store) -> None:
    found = {statement: await store.query_number(statement) for statement in COUNTS}
    assert found == COUNTS
    await store.query("DELETE FROM wp_woocommerce_sessions")
    order = await buy_product(store.url, store.at)
    async with open_admin_visit(store.url, store.at, await store.read_credentials()) as admin:
        assert await admin.has_order(order)


@asynccontextmanager
async def stop_web(store: Store) -> AsyncIterator[None]:
    """Stop the web pod: a request in progress would create tables in an emptied database."""
    await store.kubectl("scale", "deployment/web", "--replicas=0")
    web_pods = ("pod", "--selector=app.kubernetes.io/component=web")
    await store.kubectl("wait", "--for=delete", *web_pods, "--timeout=60s", check=False)
    try:
        yield
    finally:
        await store.kubectl("scale", "deployment/web", "--replicas=1")
    await store.kubectl("rollout", "status", "deployment/web", "--timeout=120s")


async def test_repeated_setup_changes_nothing(store: Store) -> None:
    options = (
        "SELECT option_name, MD5(option_value) FROM wp_options"
        " WHERE option_name NOT LIKE '%transient%' ORDER BY 1"
    )
    assert await store.wait_for_pod(await store.start_setup_pod()) == "Succeeded"
    before = await store.query(options)
    for _ in range(2):
        assert await store.wait_for_pod(await store.start_setup_pod()) == "Succeeded"
    ours = {"cron", "rewrite_rules", "action_scheduler_lock_async-request-runner"}
    assert [row for row in await store.query(options) if row[0] not in ours] == [
        row for row in before if row[0] not in ours
    ]
    await check_store(store)


async def test_setup_keeps_changes_of_owner(store: Store) -> None:
    await store.query(
        "UPDATE wp_options SET option_value = 'My own name' WHERE option_name = 'blogname'"
    )
    await store.query("UPDATE wp_posts SET post_status = 'trash' WHERE post_name = 'wool-cushion'")
    assert await store.wait_for_pod(await store.start_setup_pod()) == "Succeeded"
    assert await store.query(
        "SELECT option_value FROM wp_options WHERE option_name = 'blogname'"
    ) == [["My own name"]]
    assert (
        await store.query_number(
            "SELECT COUNT(*) FROM wp_posts WHERE post_type = 'product' AND post_status = 'publish'"
        )
        == 5
    )
    await store.query(
        "UPDATE wp_posts SET post_status = 'publish' WHERE post_name = 'wool-cushion'"
    )


async def test_setup_killed_ten_times_still_completes(store: Store) -> None:
    async with stop_web(store):
        await store.query(_EMPTY)
        began = time.monotonic()
        assert await store.wait_for_pod(await store.start_setup_pod()) == "Succeeded"
        longest = time.monotonic() - began
        await store.query(_EMPTY)
        chance = random.Random(20261125)
        killed = 0
        for _ in range(40):
            pod = await store.start_setup_pod()
            await asyncio.sleep(chance.uniform(0, longest))
            # Kill all processes except the first, which ends when its child does.
            await store.kubectl("exec", pod, "--", "sh", "-c", "kill -9 -1", check=False)
            if (
                await store.wait_for_pod(pod) == "Succeeded"
            ):  # it finished before the kill: start over
                await store.query(_EMPTY)
                continue
            killed += 1
            if killed == 10:
                break
        assert killed == 10
        assert await store.wait_for_pod(await store.start_setup_pod()) == "Succeeded"
    await check_store(store)


async def test_setup_of_foreign_database_fails_and_changes_nothing(store: Store) -> None:
    async with stop_web(store):
        await store.query(f"{_EMPTY}; CREATE TABLE store.theirs (id INT)")
        pod = await store.start_setup_pod()
        words = ""
        while await store.get_phase(pod) == "Running":
            words = await store.kubectl("logs", pod, check=False) or words
        words = await store.kubectl("logs", pod, check=False) or words
        assert await store.wait_for_pod(pod) == "Failed"
        assert "tables that this store did not create" in words
        assert await store.query("SHOW TABLES") == [["theirs"]]
        await store.query(_EMPTY)
        assert await store.wait_for_pod(await store.start_setup_pod()) == "Succeeded"
    await check_store(store)
