"""The purchase as a script makes it: plain HTTP under the shop's host name, and the order found in the admin."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from tests.support.databases import names_left
from tests.support.platform import Client, Platform

ADDRESS = {
    "first_name": "Grace",
    "last_name": "Guest",
    "line1": "1 Main Street",
    "line4": "Springfield",
    "state": "Illinois",
    "postcode": "62701",
    "country": "US",
}


class Visitor:
    """A browser without a screen: cookies, the Host header, the form's token."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        parts = urlsplit(url)
        self._session = session
        self._base = f"http://127.0.0.1:{parts.port}"
        self._headers = {"Host": parts.netloc, "Origin": f"http://{parts.netloc}"}

    async def get(self, path: str) -> str:
        return await self._ask("GET", path)

    async def post(self, path: str, fields: dict[str, str], *, page: str) -> str:
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token is not None, page[:500]
        return await self._ask("POST", path, data={**fields, "csrfmiddlewaretoken": token.group(1)})

    async def _ask(self, method: str, path: str, **kwargs: Any) -> str:
        for _ in range(10):
            async with self._session.request(
                method, URL(self._base + path, encoded=True), headers=self._headers, allow_redirects=False, **kwargs
            ) as response:
                body = await response.text()
                assert response.status < 400, f"{method} {path}: {response.status} {body[:300]}"
                if response.status < 300:
                    return body
                target = urlsplit(response.headers["Location"])
                method, path, kwargs = "GET", target.path + (f"?{target.query}" if target.query else ""), {}
        raise AssertionError("redirected without end")


async def test_bought_by_http_found_by_the_admin_then_gone(platform: Platform) -> None:
    async with Client(platform) as client:
        store = await client.made("http-shop", parameters={"title": "Plain Shop", "currency": "EUR"})
        status, sign_in = await client.once("POST", f"stores/{store['id']}/credentials")
        assert status == 200
        order = await _buy(store["url"])
        await _find(store["url"], sign_in, order)
        assert sign_in["password"] not in _everything_written(platform)
        await _check_logs(client, platform, store)
        deleted = await client.delete("http-shop")
        assert (await client.ended(deleted["operation"]["id"]))["state"] == "succeeded"
    assert not [left for left in platform.leftovers() if store["id"] in left]
    assert store["id"].replace("sto_", "st_") not in " ".join(await names_left(platform))


def _new_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))


async def _buy(url: str) -> str:
    async with _new_session() as session:
        visitor = Visitor(session, url)
        page = await visitor.get("/catalogue/")
        assert "Plain Shop" in page
        add = re.search(r'action="(/basket/add/\d+/)"', page)
        assert add is not None
        await visitor.post(add.group(1), {"quantity": "2"}, page=page)
        page = await visitor.get("/checkout/")
        page = await visitor.post("/checkout/", {"username": "guest@example.com", "options": "anonymous"}, page=page)
        page = await visitor.post("/checkout/shipping-address/", ADDRESS, page=page)
        assert "Cash on delivery" in page
        page = await visitor.get("/checkout/preview/")
        page = await visitor.post("/checkout/preview/", {"action": "place_order"}, page=page)
        number = re.search(r"order number is\s*<strong>(\d+)", page)
        assert number is not None
        assert "€" in page
        return number.group(1)


async def _find(url: str, sign_in: dict[str, str], order: str) -> None:
    async with _new_session() as session:
        visitor = Visitor(session, url)
        page = await visitor.get("/dashboard/login/")
        fields = {"username": sign_in["username"], "password": sign_in["password"], "next": "/dashboard/"}
        await visitor.post("/dashboard/login/", fields, page=page)
        page = await visitor.get(f"/dashboard/orders/{order}/")
        assert "Cash on delivery" in page
        assert "Grace" in page


async def _check_logs(client: Client, platform: Platform, store: dict[str, Any]) -> None:
    """The ids of the click are on the lines of the store process."""
    _, listing = await client.insist("GET", f"operations?store_id={store['id']}")
    operation = listing["data"][0]
    mine = [line for line in platform.log_lines("provisioner") if line.get("operation_id") == operation["id"]]
    assert {line.get("request_id") for line in mine} == {operation["request_id"]}
    shop = list(platform.log_lines(f"store-{store['id']}"))
    assert any(line.get("request_id") == operation["request_id"] for line in shop)
    assert {line.get("operation_id") for line in shop if "operation_id" in line} == {operation["id"]}


def _everything_written(platform: Platform) -> str:
    """Logs, streams, and every command line and environment: no place for a password."""
    texts = [path.read_bytes() for path in (platform.state_dir / "logs").glob("*.log")]
    texts += [path.read_bytes() for path in (platform.state_dir / "nats").rglob("*") if path.is_file()]
    for entry in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                texts.append((entry / name).read_bytes())
            except OSError:
                continue
    return b"\n".join(texts).decode(errors="replace")
