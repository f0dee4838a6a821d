"""A scripted purchase: plain HTTP under the store's host name, then the order in the admin."""

import json
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.http.client import Api
from tests.support.services.databases import list_store_databases
from tests.support.services.platform import Client, Platform
from tests.support.stores.mail import find_mail
from tests.support.stores.oscar import buy_products, check_order


async def test_purchase_by_http_appears_in_admin_until_store_is_deleted(platform: Platform) -> None:
    async with Client(platform) as client:
        store = await client.made(
            "http-shop", parameters={"title": "Plain Shop", "currency": "EUR"}
        )
        status, sign_in = await client.once("POST", f"stores/{store['id']}/credentials")
        assert status == 200
        order = await buy_products(store["url"], title="Plain Shop", sign="€")
        await check_order(store["url"], sign_in, order)
        await _check_mail(platform, store, order)
        assert sign_in["password"] not in _collect_texts(platform)
        await _check_logs(client, platform, store)
        deleted = await client.delete("http-shop")
        assert (await client.ended(deleted["operation"]["id"]))["state"] == "succeeded"
    assert not [left for left in platform.leftovers() if store["id"] in left]
    assert store["id"].replace("sto_", "st_") not in " ".join(await list_store_databases(platform))


async def _check_mail(platform: Platform, store: dict[str, Any], order: str) -> None:
    """Read the confirmation through the platform; neither its key nor its recipient is logged."""
    async with aiohttp.ClientSession() as session:
        api = Api(session, platform.admin["url"], platform.admin["token"])
        mail = await find_mail(api, store["id"], to="guest@example.com", subject=order)
    assert order in mail["text"]
    assert order in mail["html"]
    config = json.loads((platform.state_dir / "stores" / store["id"] / "store.json").read_text())
    assert config["mail_key"] not in _collect_texts(platform)
    assert mail["to"][0] not in (platform.state_dir / "logs" / "gateway.log").read_text()


async def _check_logs(client: Client, platform: Platform, store: dict[str, Any]) -> None:
    """Check that the log lines of the store's process carry the ids of the request."""
    _, listing = await client.insist("GET", f"operations?store_id={store['id']}")
    operation = listing["data"][0]
    mine = [
        line
        for line in platform.log_lines("provisioner")
        if line.get("operation_id") == operation["id"]
    ]
    assert {line.get("request_id") for line in mine} == {operation["request_id"]}
    shop = list(platform.log_lines(f"store-{store['id']}"))
    assert any(line.get("request_id") == operation["request_id"] for line in shop)
    assert {line.get("operation_id") for line in shop if "operation_id" in line} == {
        operation["id"]
    }


def _collect_texts(platform: Platform) -> str:
    """Return logs, streams, and every command line and environment; none may contain a password."""
    texts = [path.read_bytes() for path in (platform.state_dir / "logs").glob("*.log")]
    texts += [
        path.read_bytes() for path in (platform.state_dir / "nats").rglob("*") if path.is_file()
    ]
    for entry in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                texts.append((entry / name).read_bytes())
            except OSError:
                continue
    return b"\n".join(texts).decode(errors="replace")
