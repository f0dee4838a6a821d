"""Upgrade and roll back Medusa and Oscar while a customer visits; orders must be kept."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.support.cluster.deployment import Deployment
from tests.support.http.client import Api
from tests.support.stores import medusa, oscar
from tests.support.stores.customer import Customer

WITHIN = 180.0
#: Longest gap in seconds that a customer may see; a test machine is busier than a node.
LONGEST_GAP = 5.0


class Shop(NamedTuple):
    """How to buy from an engine's store, and how to look an order up in its admin."""

    page: str
    expect: str
    buy: Callable[[str, str, str], Awaitable[str]]
    sees: Callable[[str, dict[str, str], str, str], Awaitable[bool]]


async def _medusa_sees(url: str, sign_in: dict[str, str], order: str, at: str) -> bool:
    return order in await medusa.list_orders(url, sign_in, at=at)


async def _oscar_sees(url: str, sign_in: dict[str, str], order: str, at: str) -> bool:
    return await oscar.has_order(url, sign_in, order, at=at)


SHOPS = {
    "medusa": Shop(
        "/products/stoneware-mug",
        "Add to cart",
        lambda url, title, at: medusa.buy_by_forms(url, title=title, at=at),
        _medusa_sees,
    ),
    "oscar": Shop(
        "/catalogue/",
        "Stoneware Mug",
        lambda url, title, at: oscar.buy_products(url, title=title, at=at),
        _oscar_sees,
    ),
}


class Subject:
    """One store of the deployed platform."""

    def __init__(self, api: Api, store: dict[str, Any], shop: Shop, at: str) -> None:
        self.api, self.shop, self.at = api, shop, at
        self.id, self.url, self.title = store["id"], store["url"], store["name"]

    async def change(self, verb: str, **body: Any) -> dict[str, Any]:
        answer = await self.api.post(f"/stores/{self.id}/{verb}", body)
        assert answer.status == 202, answer.text
        return await self.api.wait_until_done(answer.body["operation"]["id"], within=WITHIN)

    async def changed(self, verb: str, then: str, **body: Any) -> None:
        """Change the version while a customer requests a page; check the resulting version."""
        customer = Customer(
            self.at + self.shop.page, host=urlsplit(self.url).netloc, expect=self.shop.expect
        )
        with customer.visiting():
            operation = await self.change(verb, **body)
            await asyncio.sleep(1)
        assert operation["state"] == "succeeded", operation
        assert (await self.api.store(self.id))["engine_version"] == then
        print(
            f"{verb} to {then}: {len(customer.requests)} requests, gaps {customer.gaps},"
            f" slowest {customer.slowest:.2f} s"
        )
        if not body.get("restore"):  # a restore stops the store
            assert max(customer.gaps, default=0.0) <= LONGEST_GAP, customer.problems

    async def buy(self) -> str:
        return await self.shop.buy(self.url, self.title, self.at)

    async def seen(self, *orders: str) -> list[bool]:
        sign_in = (await self.api.post(f"/stores/{self.id}/credentials")).body
        return [await self.shop.sees(self.url, sign_in, order, self.at) for order in orders]


@pytest.mark.parametrize("engine", sorted(SHOPS))
async def test_upgrade_and_rollback_keep_orders(deployment: Deployment, engine: str) -> None:
    (offered,) = [
        each
        for each in (await deployment.api.get("/engines")).body["data"]
        if each["name"] == engine
    ]
    newest, before = [version["version"] for version in offered["versions"]][:2]
    assert newest == offered["default_version"]
    name = f"versions-{engine}-{time.time_ns() % 10**9:x}"
    api = await deployment.create_tenant(name)
    accepted = await api.create(name, engine=engine, version=before)
    assert (await api.wait_until_done(accepted["operation"]["id"], within=WITHIN))[
        "state"
    ] == "succeeded"
    store = await api.store(accepted["store"]["id"])
    assert store["engine_version"] == before
    subject = Subject(api, store, SHOPS[engine], await deployment.get_address(store["id"]))

    first = await subject.buy()
    await subject.changed("upgrade", newest, version=newest)
    second = await subject.buy()
    assert await subject.seen(first, second) == [True, True]
    await subject.changed("rollback", before)
    third = await subject.buy()
    assert await subject.seen(first, second, third) == [True, True, True]

    await subject.changed("upgrade", newest, version=newest)
    fourth = await subject.buy()
    refused = await subject.change("rollback", restore=True)
    assert (refused["state"], refused["error"]["code"]) == ("failed", "orders_would_be_lost"), (
        refused
    )
    assert fourth in str(refused["error"])
    assert await subject.seen(fourth) == [True]
    await subject.changed("rollback", before, restore=True, discard_orders=True)
    assert await subject.seen(first, second, third, fourth) == [True, True, True, False]
    await subject.buy()

    answer = await api.delete(f"/stores/{store['id']}")
    assert (await api.wait_until_done(answer.body["operation"]["id"], within=WITHIN))[
        "state"
    ] == "succeeded"
    assert await deployment.list_leftovers(store["id"]) == []
