"""A Medusa store on the deployed platform: purchases by forms and API, dump, restore, deletion."""

import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest_asyncio

from storefleet.core.identifiers import make_resource_name
from tests.support.cluster.deployment import Deployment
from tests.support.http.client import Api
from tests.support.services.polling import eventually
from tests.support.stores import medusa
from tests.support.stores.mail import find_mail
from tests.support.texts.samples import STORE_TITLE

_READY_WITHIN = 180.0
_GONE_WITHIN = 120.0
_TASK_WITHIN = 120.0


class Shop(NamedTuple):
    """A ready store and its addresses."""

    api: Api
    store: dict[str, Any]
    url: str
    at: str
    namespace: str


@pytest_asyncio.fixture
async def shop(deployment: Deployment) -> AsyncIterator[Shop]:
    api = await deployment.create_tenant(f"medusa-{time.time_ns()}")
    parameters = {"title": STORE_TITLE, "currency": "EUR", "country": "AT"}
    accepted = await api.create("medusa-shop", engine="medusa", parameters=parameters)
    assert (await api.wait_until_done(accepted["operation"]["id"], within=_READY_WITHIN))[
        "state"
    ] == "succeeded"
    store = await api.store(accepted["store"]["id"])
    at = await deployment.get_address(store["id"])
    yield Shop(api, store, store["url"], at, make_resource_name(store["id"]))
    answer = await api.delete(f"/stores/{store['id']}")
    assert answer.status == 202, answer.text
    assert (await api.wait_until_done(answer.body["operation"]["id"], within=_GONE_WITHIN))[
        "state"
    ] == "succeeded"
    assert await deployment.list_leftovers(store["id"]) == []


async def test_medusa_store_takes_orders_and_restores_dump(
    deployment: Deployment, shop: Shop
) -> None:
    await _check_keys_and_admin(deployment, shop)
    sign_in = (await shop.api.post(f"/stores/{shop.store['id']}/credentials")).body
    by_forms = await medusa.buy_by_forms(shop.url, title=STORE_TITLE, at=shop.at)
    mail = await find_mail(shop.api, shop.store["id"], to=medusa.EMAIL)
    assert by_forms in mail["subject"]
    assert STORE_TITLE in mail["text"]
    dump = await _run_task(deployment, shop, "dump", STOREFLEET_DUMP="op_first")
    assert dump["bytes"] > 100_000
    again = await _run_task(deployment, shop, "dump", STOREFLEET_DUMP="op_first")
    assert again == dump, "an existing dump is kept"
    by_api = await medusa.buy_by_api(shop.url, at=shop.at)

    orders = await medusa.list_orders(shop.url, sign_in, at=shop.at)
    assert set(orders) == {by_forms, by_api}
    assert all(order["payment_status"] == "authorized" for order in orders.values()), (
        "cash is paid on delivery"
    )
    assert orders[by_forms]["total"] == 2 * 18 + 5

    since = await _run_task(deployment, shop, "orders", STOREFLEET_SINCE=dump["at"])
    assert [order["number"] for order in since["orders"]] == [by_api]
    assert since["count"] == 1
    assert since["orders"][0]["total"] == "84.00 EUR"
    later = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    assert (await _run_task(deployment, shop, "orders", STOREFLEET_SINCE=later))["count"] == 0

    assert (await _run_task(deployment, shop, "restore", STOREFLEET_DUMP="op_first"))[
        "bytes"
    ] == dump["bytes"]
    assert set(await medusa.list_orders(shop.url, sign_in, at=shop.at)) == {by_forms}
    await medusa.buy_by_forms(shop.url, title=STORE_TITLE, at=shop.at)
    await _check_logs_and_secrets(deployment, shop, sign_in)


async def _check_logs_and_secrets(
    deployment: Deployment, shop: Shop, sign_in: dict[str, str]
) -> None:
    """Check that logs exist and that no object, log or release contains a secret."""
    lines = (await shop.api.get(f"/stores/{shop.store['id']}/logs")).body["data"]
    assert any("Store started" in str(line) for line in lines), lines
    kinds = "pods,configmaps,statefulsets,deployments,jobs,cronjobs,services,events"
    told = await deployment.run_program("kubectl", "get", kinds, "-n", shop.namespace, "-o", "json")
    told += await deployment.run_program("helm", "get", "all", "store", "-n", shop.namespace)
    told += "\n".join(map(str, lines))
    secrets = json.loads(
        await deployment.run_program(
            "kubectl", "get", "secret", "store-secrets", "-n", shop.namespace, "-o", "json"
        )
    )
    assert len(secrets["data"]) == 4
    assert sign_in["password"] not in told
    assert not any(value in told for value in secrets["data"].values())


async def _check_keys_and_admin(deployment: Deployment, shop: Shop) -> None:
    """Check that a missing or foreign key is rejected and that the admin's pages are served."""
    key = await medusa.read_publishable_key(shop.url, at=shop.at)
    image = await deployment.run_program(
        "kubectl",
        "get",
        "pods",
        "-n",
        shop.namespace,
        "-o",
        "jsonpath={.items[*].spec.containers[*].image}",
    )
    assert set(image.split()) == {"storefleet/medusa:2.21.2"}
    async with medusa.open_session() as http:
        browser = medusa.Browser(http, shop.url, at=shop.at)
        page = await browser.get("/app/login")
        assert '<div id="medusa">' in page
        assert (
            len(await browser.get(medusa.find_text(r'src="(/app/assets/[^"]+\.js)"', page)))
            > 10_000
        )
        stranger = medusa.Api(
            http, shop.url, at=shop.at, headers={"x-publishable-api-key": "pk_" + "0" * 64}
        )
        with_key = medusa.Api(http, shop.url, at=shop.at, headers={"x-publishable-api-key": key})
        assert (await with_key.request("GET", "/store/products"))["count"] >= 6
        assert await stranger.request_status("GET", "/store/products") == 400
        assert await stranger.request_status("GET", "/admin/orders") == 401


async def _run_task(deployment: Deployment, shop: Shop, name: str, **env: str) -> dict[str, Any]:
    """Run a task like the platform, as a Job from the suspended CronJob; return its result."""
    found = await deployment.run_program(
        "kubectl", "get", "cronjob", name, "-n", shop.namespace, "-o", "json"
    )
    cron = json.loads(found)
    assert cron["spec"]["suspend"] is True
    spec = cron["spec"]["jobTemplate"]["spec"]
    for container in spec["template"]["spec"]["containers"]:
        container["env"] += [{"name": key, "value": value} for key, value in env.items()]
    job = f"{name}-{time.time_ns() % 10**9:x}"
    metadata = {"name": job, "namespace": shop.namespace, "labels": cron["metadata"]["labels"]}
    manifest = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}
    await deployment.run_program("kubectl", "create", "-f", "-", stdin=json.dumps(manifest))

    async def said() -> dict[str, Any] | None:
        for pod in await deployment.list_objects(
            "pods", "-n", shop.namespace, "-l", f"batch.kubernetes.io/job-name={job}"
        ):
            for status in pod["status"].get("containerStatuses", []):
                ended = status["state"].get("terminated")
                assert ended is None or ended["exitCode"] == 0, ended
                if ended:
                    return dict(json.loads(ended["message"]))
        return None

    return await eventually(said, within=_TASK_WITHIN, every=0.5)
