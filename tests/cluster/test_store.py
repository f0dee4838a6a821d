"""Stores on the deployed platform: creation, purchase, deletion without leftovers, and faults."""

import asyncio
import time
from typing import Any

from storefleet.core.identifiers import make_resource_name
from tests.support.cluster.deployment import PLATFORM, STATE, Deployment
from tests.support.http.client import Api
from tests.support.services.platform import ROOT
from tests.support.services.polling import eventually
from tests.support.stores.mail import find_mail
from tests.support.stores.oscar import buy_products, check_order
from tests.support.texts.samples import STORE_TITLE

_READY_WITHIN = 120.0
_GONE_WITHIN = 120.0


async def _create_store(api: Api, name: str, **more: Any) -> dict[str, Any]:
    accepted = await api.create(name, **more)
    operation = await api.wait_until_done(accepted["operation"]["id"], within=_READY_WITHIN)
    assert operation["state"] == "succeeded", operation
    return await api.store(accepted["store"]["id"])


async def _delete_store(api: Api, store_id: str) -> None:
    answer = await api.delete(f"/stores/{store_id}")
    assert answer.status == 202, answer.text
    operation = await api.wait_until_done(answer.body["operation"]["id"], within=_GONE_WITHIN)
    assert operation["state"] == "succeeded", operation


async def test_store_takes_order_and_is_deleted_completely(deployment: Deployment) -> None:
    api = await deployment.create_tenant("buyers")
    fields = {"engine": "oscar", "parameters": {"title": STORE_TITLE}}
    store = await _create_store(api, "cluster-shop", **fields)
    assert store["state"] == "ready"
    await eventually(lambda: _is_observed(api, store["id"], "serving"), within=15, every=0.5)
    at = await deployment.get_address(store["id"])
    order = await buy_products(store["url"], title=STORE_TITLE, at=at)
    sign_in = (await api.post(f"/stores/{store['id']}/credentials")).body
    await check_order(store["url"], sign_in, order, at=at)
    mail = await find_mail(api, store["id"], to="guest@example.com", subject=order)
    assert order in mail["html"]
    lines = (await api.get(f"/stores/{store['id']}/logs")).body
    assert lines["data"]
    assert sign_in["password"] not in await _collect_texts(deployment, store["id"])
    await _delete_store(api, store["id"])
    assert await deployment.list_leftovers(store["id"]) == []


async def _is_observed(api: Api, store_id: str, storefront: str) -> bool:
    """Return whether the deployed reaper has observed this class through the store's Service."""
    observed = (await api.store(store_id))["observed"]
    return bool(observed["storefront"] == storefront and observed["checked_at"])


async def _collect_texts(deployment: Deployment, store_id: str) -> str:
    """Return objects, Helm release and service logs of a store: everything outside its Secrets."""
    namespace = make_resource_name(store_id)
    kinds = "pods,configmaps,statefulsets,deployments,jobs,services,events"
    texts = [await deployment.run_program("kubectl", "get", kinds, "-n", namespace, "-o", "json")]
    texts.append(await deployment.run_program("helm", "get", "all", "store", "-n", namespace))
    texts += [
        await deployment.read_logs(service)
        for service in ("gateway", "provisioner", "reaper", "notifier")
    ]
    return "\n".join(texts)


async def test_two_provisioners_create_four_stores_concurrently(deployment: Deployment) -> None:
    api = await deployment.create_tenant("crowd")
    await deployment.run_program(
        "kubectl", "scale", "deployment/provisioner", "-n", PLATFORM, "--replicas=2"
    )
    try:
        await deployment.wait_for_rollout()
        stores = await asyncio.gather(
            *(_create_store(api, f"crowd-{number}") for number in range(4))
        )
        await asyncio.gather(*(_delete_store(api, store["id"]) for store in stores))
        for store in stores:
            assert await deployment.list_leftovers(store["id"]) == []
    finally:
        await deployment.run_program(
            "kubectl", "scale", "deployment/provisioner", "-n", PLATFORM, "--replicas=1"
        )
        await deployment.wait_for_rollout()


async def test_killed_provisioner_is_taken_over(deployment: Deployment) -> None:
    """Another provisioner takes the operation over and completes it."""
    api = await deployment.create_tenant("killed")
    accepted = await api.create("killed-shop")

    async def releasing() -> bool:
        operation = (await api.get(f"/operations/{accepted['operation']['id']}")).body
        return any(
            step["name"] == "release" and step["state"] == "running" for step in operation["steps"]
        )

    await eventually(releasing, within=60, every=0.05)
    (pod,) = await deployment.list_pods("provisioner")
    await deployment.run_program(
        "kubectl",
        "delete",
        "pod",
        pod["metadata"]["name"],
        "-n",
        PLATFORM,
        "--grace-period=0",
        "--force",
    )
    operation = await api.wait_until_done(accepted["operation"]["id"], within=180)
    assert operation["state"] == "succeeded", operation
    await _delete_store(api, accepted["store"]["id"])
    assert await deployment.list_leftovers(accepted["store"]["id"]) == []
    await deployment.wait_for_rollout()


async def test_unfinished_creation_can_be_deleted(deployment: Deployment) -> None:
    api = await deployment.create_tenant("cancelled")
    accepted = await api.create("cancelled-shop")
    await asyncio.sleep(1)
    await _delete_store(api, accepted["store"]["id"])
    assert await deployment.list_leftovers(accepted["store"]["id"]) == []


async def test_creation_survives_api_server_outage_of_a_minute(deployment: Deployment) -> None:
    """Creations wait and finish afterwards; the platform's API keeps answering.

    The node itself needs a minute or more to catch up.
    """
    api = await deployment.create_tenant("away")
    accepted = await api.create("away-shop")
    await asyncio.sleep(1)
    control = str(ROOT / "tools" / "bare-cluster")
    state = ("--state", str(STATE / "cluster"))
    await deployment.run_program(control, "stop", *state, "kube-apiserver")
    try:
        began = time.monotonic()
        while time.monotonic() - began < 60:
            answer = await api.get(f"/stores/{accepted['store']['id']}")
            assert answer.status == 200
            assert answer.body["state"] in ("requested", "provisioning", "ready")
            await asyncio.sleep(2)
    finally:
        await deployment.run_program(control, "start", *state, "kube-apiserver")
    operation = await api.wait_until_done(accepted["operation"]["id"], within=300)
    assert operation["state"] == "succeeded", operation
    await _delete_store(api, accepted["store"]["id"])
    assert await deployment.list_leftovers(accepted["store"]["id"]) == []


async def test_service_logs_contain_no_traceback(deployment: Deployment) -> None:
    for service in ("gateway", "provisioner", "reaper", "notifier"):
        assert "Traceback" not in await deployment.read_logs(service)
