"""A store through the deployed platform: created, bought from, deleted, and nothing left; also over faults."""

import asyncio
import time
from typing import Any

from storefleet.core.identifiers import make_resource_name
from tests.support.client import Api
from tests.support.deployment import PLATFORM, STATE, Deployment
from tests.support.platform import ROOT
from tests.support.polling import eventually
from tests.support.purchase import buy, find

_READY_WITHIN = 120.0
_GONE_WITHIN = 120.0


async def _made(api: Api, name: str, **more: Any) -> dict[str, Any]:
    accepted = await api.create(name, **more)
    operation = await api.ended(accepted["operation"]["id"], within=_READY_WITHIN)
    assert operation["state"] == "succeeded", operation
    return await api.store(accepted["store"]["id"])


async def _deleted(api: Api, store_id: str) -> None:
    answer = await api.delete(f"/stores/{store_id}")
    assert answer.status == 202, answer.text
    operation = await api.ended(answer.body["operation"]["id"], within=_GONE_WITHIN)
    assert operation["state"] == "succeeded", operation


async def test_bought_from_and_gone(deployment: Deployment) -> None:
    api = await deployment.tenant("buyers")
    store = await _made(api, "cluster-shop", parameters={"title": "Cluster Shop"})
    assert store["state"] == "ready"
    at = await deployment.address(store["id"])
    order = await buy(store["url"], title="Cluster Shop", at=at)
    sign_in = (await api.post(f"/stores/{store['id']}/credentials")).body
    await find(store["url"], sign_in, order, at=at)
    lines = (await api.get(f"/stores/{store['id']}/logs")).body
    assert lines["data"]
    assert sign_in["password"] not in await _told_of(deployment, store["id"])
    await _deleted(api, store["id"])
    assert await deployment.left_of(store["id"]) == []


async def _told_of(deployment: Deployment, store_id: str) -> str:
    """Everything that is written about the store outside its Secrets: objects, Helm's release, logs of the services."""
    namespace = make_resource_name(store_id)
    kinds = "pods,configmaps,statefulsets,deployments,jobs,services,events"
    texts = [await deployment.run("kubectl", "get", kinds, "-n", namespace, "-o", "json")]
    texts.append(await deployment.run("helm", "get", "all", "store", "-n", namespace))
    texts += [
        await deployment.logs(service)
        for service in ("gateway", "provisioner", "reaper", "notifier")
    ]
    return "\n".join(texts)


async def test_two_provisioners_and_four_stores_at_once(deployment: Deployment) -> None:
    api = await deployment.tenant("crowd")
    await deployment.run(
        "kubectl", "scale", "deployment/provisioner", "-n", PLATFORM, "--replicas=2"
    )
    try:
        await deployment.rolled_out()
        stores = await asyncio.gather(*(_made(api, f"crowd-{number}") for number in range(4)))
        await asyncio.gather(*(_deleted(api, store["id"]) for store in stores))
        for store in stores:
            assert await deployment.left_of(store["id"]) == []
    finally:
        await deployment.run(
            "kubectl", "scale", "deployment/provisioner", "-n", PLATFORM, "--replicas=1"
        )
        await deployment.rolled_out()


async def test_a_provisioner_that_is_killed_in_the_middle(deployment: Deployment) -> None:
    """Taken over by the next one; ready once, with one release of one revision or more, and one admin."""
    api = await deployment.tenant("killed")
    accepted = await api.create("killed-shop")

    async def releasing() -> bool:
        operation = (await api.get(f"/operations/{accepted['operation']['id']}")).body
        return any(
            step["name"] == "release" and step["state"] == "running" for step in operation["steps"]
        )

    await eventually(releasing, within=60, every=0.05)
    (pod,) = await deployment.pods("provisioner")
    await deployment.run(
        "kubectl",
        "delete",
        "pod",
        pod["metadata"]["name"],
        "-n",
        PLATFORM,
        "--grace-period=0",
        "--force",
    )
    operation = await api.ended(accepted["operation"]["id"], within=180)
    assert operation["state"] == "succeeded", operation
    await _deleted(api, accepted["store"]["id"])
    assert await deployment.left_of(accepted["store"]["id"]) == []
    await deployment.rolled_out()


async def test_a_cancelled_creation_can_be_deleted(deployment: Deployment) -> None:
    api = await deployment.tenant("cancelled")
    accepted = await api.create("cancelled-shop")
    await asyncio.sleep(1)
    await _deleted(api, accepted["store"]["id"])
    assert await deployment.left_of(accepted["store"]["id"]) == []


async def test_the_api_server_away_for_a_minute(deployment: Deployment) -> None:
    """Creations wait, and are ready afterwards; the platform's own API answers all the time.

    The node itself needs a minute or more to catch up.
    """
    api = await deployment.tenant("away")
    accepted = await api.create("away-shop")
    await asyncio.sleep(1)
    control = str(ROOT / "tools" / "bare-cluster")
    state = ("--state", str(STATE / "cluster"))
    await deployment.run(control, "stop", *state, "kube-apiserver")
    try:
        began = time.monotonic()
        while time.monotonic() - began < 60:
            answer = await api.get(f"/stores/{accepted['store']['id']}")
            assert answer.status == 200
            assert answer.body["state"] in ("requested", "provisioning", "ready")
            await asyncio.sleep(2)
    finally:
        await deployment.run(control, "start", *state, "kube-apiserver")
    operation = await api.ended(accepted["operation"]["id"], within=300)
    assert operation["state"] == "succeeded", operation
    await _deleted(api, accepted["store"]["id"])
    assert await deployment.left_of(accepted["store"]["id"]) == []


async def test_no_service_has_met_the_unexpected(deployment: Deployment) -> None:
    for service in ("gateway", "provisioner", "reaper", "notifier"):
        assert "Traceback" not in await deployment.logs(service)
