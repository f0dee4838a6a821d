"""A Medusa store that its owner has changed: restarted, upgraded, rolled back, closed."""

import re
from typing import Any
from urllib.parse import urlsplit

from tests.support.cluster.deployment import Deployment
from tests.support.cluster.owner_changes import (
    OwnedShop,
    OwnerChange,
    check_broken_release,
    check_change,
    open_owned_shop,
)
from tests.support.services.polling import eventually
from tests.support.stores import medusa, medusa_owner
from tests.support.stores.medusa_owner import Owner

PRODUCTS = 40
PICTURE_BYTES = 15_000_000
PASSWORD = "Own-passw0rd!"
#: A table of the next version in a form that its migrations cannot use.
BROKEN_TABLE = "CREATE TABLE search_index_version (unusable integer)"


async def test_medusa_store_survives_all_that_its_owner_changes(deployment: Deployment) -> None:
    shop = await open_owned_shop(deployment, "medusa")
    await medusa.buy_by_forms(shop.url, title=urlsplit(shop.url).netloc.split(".")[0], at=shop.at)
    async with medusa.open_session() as http:
        credentials = await shop.read_credentials()
        owner = await medusa_owner.sign_in(
            http,
            shop.url,
            at=shop.at,
            email=credentials["username"],
            password=credentials["password"],
        )
        await medusa_owner.change_everything(owner, products=PRODUCTS)
        await _show_large_picture(shop, owner)
        notices = (await owner.get("/admin/notifications?channel=feed"))["notifications"]
        titles = [notice["data"]["title"] for notice in notices]
        assert titles == ["This shop does not send e-mail yet"]
        owner = await _replace_administrator(shop, owner)
        settings = await medusa_owner.read_settings(owner)
        for country in medusa_owner.ADDRESSES:
            await _buy(shop, country)
        await shop.restart_web()

        owner = await _sign_in(shop, owner)
        await run_sql(shop, BROKEN_TABLE)
        failed = await check_broken_release(shop, shop.versions[0])
        print(f"migrations that fail: {failed['error']['detail']}")
        await run_sql(shop, "DROP TABLE search_index_version")

        await check_change(
            shop, OwnerChange("everything", _do_nothing, pages=("/products/thing-3",))
        )
        owner = await _check_shop(shop, owner, settings)
        await _close(shop, owner, metadata={"storefront": "closed"})
        closed = OwnerChange("storefront closed", _do_nothing, "closed_by_owner")
        await check_change(shop, closed)
        owner = await _sign_in(shop, owner)
        await _close(shop, owner, metadata={"storefront": ""})
        await deployment.make_checks_due()
        await shop.wait_for_class("serving")
        await _check_shop(shop, owner, settings, is_metadata_compared=False)


async def _do_nothing(shop: OwnedShop) -> None:
    del shop


async def _buy(shop: OwnedShop, country: str) -> str:
    number, _total = await medusa_owner.buy_twice_at_once(
        shop.url, at=shop.at, handle="thing-3", country=country
    )
    return number


async def _sign_in(shop: OwnedShop, owner: Owner) -> Owner:
    return await medusa_owner.sign_in(
        owner.http, shop.url, at=shop.at, email="second@example.com", password=PASSWORD
    )


async def _close(shop: OwnedShop, owner: Owner, *, metadata: dict[str, str]) -> None:
    """Set the store's metadata; the storefront reads them again after 15 seconds."""
    (store,) = (await owner.get("/admin/stores"))["stores"]
    await owner.post(f"/admin/stores/{store['id']}", {"metadata": metadata})
    expected = 503 if metadata["storefront"] else 200

    async def look() -> bool:
        return (await shop.request("/")).status == expected

    await eventually(look, within=30)


async def _check_shop(
    shop: OwnedShop, owner: Owner, settings: dict[str, Any], *, is_metadata_compared: bool = True
) -> Owner:
    """Check settings, products, a purchase and its mails."""
    owner = await _sign_in(shop, owner)
    found = await medusa_owner.read_settings(owner)
    if not is_metadata_compared:
        found["stores"][0].pop("metadata", None)
        settings["stores"][0].pop("metadata", None)
    assert found == settings
    listed = await medusa_owner.list_products(shop.url, at=shop.at)
    assert sorted(set(listed)) == sorted(listed)
    assert len(listed) == PRODUCTS
    number = await _buy(shop, "hk")
    mail = await _read_mail(shop, f"Your order {number}", "zoe@example.com")
    assert "By bicycle: £7.50" in mail["text"]
    assert "Mong Kok" in mail["html"]
    await _read_mail(shop, f"New order {number}: £20.50", "second@example.com")
    return owner


async def _read_mail(shop: OwnedShop, subject: str, to: str) -> dict[str, Any]:
    """Read a mail from the platform's API, when it is there."""

    async def look() -> dict[str, Any] | None:
        listed = (await shop.api.get(f"/stores/{shop.id}/mail?limit=100")).body["data"]
        for mail in listed:
            if mail["subject"] == subject and mail["to"] == [to]:
                return dict((await shop.api.get(f"/stores/{shop.id}/mail/{mail['id']}")).body)
        return None

    return await eventually(look, within=30, every=1)


async def _show_large_picture(shop: OwnedShop, owner: Owner) -> None:
    """Show a picture of 15 MB; one above the plan's limit is refused with a sentence."""
    status, uploaded = await owner.upload("large.png", medusa_owner.make_picture(PICTURE_BYTES))
    assert status == 200, uploaded
    url = uploaded["files"][0]["url"]
    product = (await owner.get("/admin/products?handle=thing-3"))["products"][0]
    images = [{"url": "/assets/goods/notebook.svg"}, {"url": url}]
    await owner.post(f"/admin/products/{product['id']}", {"images": images})
    page = await shop.request("/products/thing-3")
    assert re.findall(r'<img src="([^"]+)"', page.body) == [image["url"] for image in images]
    async with owner.http.get(shop.at + urlsplit(url).path, headers=owner.api.headers) as answer:
        assert len(await answer.read()) > PICTURE_BYTES - 16
    status, refused = await owner.upload("huge.png", medusa_owner.make_picture(34_000_000))
    assert (status, "too large" in refused["message"]) == (413, True), refused


async def _replace_administrator(shop: OwnedShop, owner: Owner) -> Owner:
    """Invite another user, who accepts by the mail, resets the password, and deletes the first."""
    email = "second@example.com"
    await owner.post("/admin/invites", {"email": email})
    invitation = await _read_mail(shop, "Invitation to Zoë's “Café” 🛍", email)
    anyone = medusa.Api(owner.http, shop.url, at=shop.at, headers={})
    body = {"email": email, "password": "first-passw0rd"}
    token = (await anyone.request("POST", "/auth/user/emailpass/register", body))["token"]
    invited = Owner(owner.http, shop.url, at=shop.at, token=token)
    query = f"token={medusa_owner.read_token(invitation)}"
    await invited.post(f"/admin/invites/accept?{query}", {"email": email, "first_name": "Zoë"})

    await anyone.send("POST", "/auth/user/emailpass/reset-password", {"identifier": email})
    mail = await _read_mail(shop, "Reset your password for Zoë's “Café” 🛍", email)
    resetting = Owner(owner.http, shop.url, at=shop.at, token=medusa_owner.read_token(mail))
    await resetting.post("/auth/user/emailpass/update", {"password": PASSWORD})
    second = await _sign_in(shop, owner)
    for user in (await second.get("/admin/users"))["users"]:
        if user["email"] != email:
            await second.delete(f"/admin/users/{user['id']}")
    return second


async def run_sql(shop: OwnedShop, statement: str) -> str:
    """Run a statement in the store's database, as the store's role."""
    script = (
        "PGPASSWORD=$(cat /run/secrets/storefleet/database-password)"
        " psql -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -U store store"
    )
    return await shop.run_in_pod("statefulset/database", "sh", "-c", script, stdin=statement)
