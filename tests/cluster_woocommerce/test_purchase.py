"""A WooCommerce store on the deployed platform: purchases, the admin, upgrade and rollback."""

import html
import re
import time
from urllib.parse import urlsplit

from tests.cluster_woocommerce.store import Store, create_store
from tests.support.cluster.deployment import Deployment
from tests.support.services.polling import eventually
from tests.support.stores.woocommerce import API, HEALTH, buy_product, open_admin_visit, open_visit
from tests.support.stores.woocommerce_owner import open_owner_visit
from tests.support.texts.samples import STORE_TITLE


async def test_order_appears_in_admin(store: Store) -> None:
    order = await buy_product(store.url, store.at)
    async with open_admin_visit(store.url, store.at, await store.read_credentials()) as admin:
        assert await admin.has_order(order)
        home = await admin.request("GET", "/wp-admin/")
        assert home.status == 200
        assert "wp-admin-bar-my-account" in home.text


async def test_wrong_password_is_rejected(store: Store) -> None:
    async with open_visit(store.url, store.at) as shop:
        fields = {"log": "admin", "pwd": "not the password", "testcookie": "1"}
        assert (await shop.request("POST", "/wp-login.php", data=fields)).status == 200
        assert (await shop.request("GET", "/wp-admin/admin.php?page=wc-orders")).status == 302


async def test_storefront_pages_show_products_and_private_paths_are_denied(store: Store) -> None:
    async with open_visit(store.url, store.at) as shop:
        for path, text in {
            "/": "Welcome to",
            "/shop/": "Stoneware Mug",
            "/product/brass-desk-lamp/": "Add to cart",
            "/product-category/kitchen/": "Oak Serving Board",
            "/cart/": "wp-block-woocommerce-cart",
            "/my-account/": "woocommerce-form-login",
            "/my-account/lost-password/": "user_login",
            "/wp-cron.php?doing_wp_cron": "",
        }.items():
            page = await shop.request("GET", path)
            assert page.status == 200, path
            assert text in page.text, path
        home = (await shop.request("GET", "/")).text
        page_title = html.unescape(home.partition("<title>")[2].partition("</title>")[0])
        assert page_title.startswith(STORE_TITLE)
        pictures = re.findall(
            r'src="https?://[^/"]+(/wp-content/uploads/goods/[^"]+)"',
            (await shop.request("GET", "/")).text,
        )
        assert len(pictures) >= 6
        assert (await shop.request("GET", pictures[0])).headers["Content-Type"] == "image/jpeg"
        for path in (
            "/xmlrpc.php",
            "/wp-config.php",
            "/wp-admin/install.php",
            "/wp-content/uploads/wc-logs/",
            "/.git/HEAD",
        ):
            assert (await shop.request("GET", path)).status == 403, path
        assert (await shop.request("GET", "/no-such-page/")).status == 404


async def test_page_urls_follow_host_header_within_domain_only(store: Store) -> None:
    domain = urlsplit(store.url).netloc.partition(".")[2]
    async with open_visit(store.url, store.at) as shop:
        for host, shown in {
            f"renamed.{domain}": f"//renamed.{domain}/shop/",
            "evil.example.com": f"{store.url}shop/",
        }.items():
            page = await shop.request("GET", "/", headers={"Host": host})
            text = page.text + page.headers.get("Location", "")
            assert shown in text or page.status == 301, host
            assert "evil" not in text
        secure = await shop.request("GET", "/wp-login.php", headers={"X-Forwarded-Proto": "https"})
        assert "secure" in secure.headers["Set-Cookie"].lower()
        assert f"https://{urlsplit(store.url).netloc}/" in secure.text


async def test_probe_fails_until_setup_of_release_is_done(store: Store) -> None:
    async with open_visit(store.url, store.at) as shop:
        assert (await shop.request("GET", "/readyz")).status == 200
        await store.query(
            "UPDATE wp_options SET option_value = 'a:0:{}'"
            " WHERE option_name = 'storefleet_releases'"
        )
        probe = await shop.request("GET", "/readyz")
        assert (probe.status, "has not finished" in probe.text) == (503, True)
        assert (await shop.request("GET", HEALTH)).body["setup"] == "pending"
        assert (await shop.request("GET", "/shop/")).status == 200
    assert await store.wait_for_pod(await store.start_setup_pod()) == "Succeeded"


async def test_pages_of_admin_need_no_internet(store: Store) -> None:
    credentials = await store.read_credentials()
    async with open_owner_visit(store.url, store.at, credentials) as owner:
        home = await owner.visit.request("GET", "/wp-admin/")
        menu = home.text.partition('id="adminmenu"')[2].partition("</ul>\n\n")[0]
        pages = sorted(set(re.findall(r"href='([a-z-]+\.php[^'#]*)'", menu)))
        assert len(pages) > 30, pages
        assert not any("wc-addons" in page or "/extensions" in page for page in pages)
        for page in pages:
            begun = time.monotonic()
            answer = await owner.visit.request("GET", f"/wp-admin/{html.unescape(page)}")
            assert answer.status in (200, 301, 302), (page, answer.status)
            assert time.monotonic() - begun < 8, page
        removed = await owner.visit.request("GET", "/wp-admin/admin.php?page=wc-addons")
        assert (removed.status, "platform manages the plugins" in removed.text) == (403, True)
        tests = "/wp-site-health/v1/tests"
        loopback = await owner.call("GET", f"{tests}/loopback-requests")
        assert loopback["status"] == "good", loopback
        routes = (await owner.call("GET", "/"))["routes"]
        assert f"{tests}/loopback-requests" in routes
        assert f"{tests}/dotorg-communication" not in routes


async def test_upgrade_and_rollback_keep_orders(deployment: Deployment) -> None:
    (engine,) = [
        each
        for each in (await deployment.api.get("/engines")).body["data"]
        if each["name"] == "woocommerce"
    ]
    newest, previous, *_ = [version["version"] for version in engine["versions"]]
    async with create_store(deployment, version=previous) as store:
        before = await buy_product(store.url, store.at)
        accepted = await store.api.post(f"/stores/{store.id}/upgrade", {"version": newest})
        assert accepted.status == 202, accepted.text
        operation = await store.wait_for_operation(accepted.body["operation"]["id"])
        assert operation["state"] == "succeeded", operation
        assert (await store.api.store(store.id))["engine_version"] == newest
        after = await buy_product(store.url, store.at)
        accepted = await store.api.post(f"/stores/{store.id}/rollback", {})
        assert accepted.status == 202, accepted.text
        operation = await store.wait_for_operation(accepted.body["operation"]["id"])
        assert operation["state"] == "succeeded", operation
        assert (await store.api.store(store.id))["engine_version"] == previous
        last = await buy_product(store.url, store.at)

        async def all_seen() -> bool:
            async with open_admin_visit(
                store.url, store.at, await store.read_credentials()
            ) as admin:
                return all([await admin.has_order(order) for order in (before, after, last)])

        await eventually(all_seen, within=20)
        async with open_visit(store.url, store.at) as shop:
            assert (await shop.request("GET", f"{API}/cart")).status == 200
