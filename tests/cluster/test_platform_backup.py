"""The platform's database in a cluster: back up, delete the volume, restore by the script."""

import asyncio
import os

import aiohttp

from storefleet.core.identifiers import generate_id
from tests.support.cluster.deployment import PLATFORM, STATE, Deployment
from tests.support.documents.sources import ROOT
from tests.support.http.client import Api
from tests.support.services.polling import eventually


async def run_backup_script(deployment: Deployment, *words: str) -> str:
    environment = {**os.environ, "KUBECONFIG": deployment.record["kubeconfig"]}
    environment["PATH"] = f"{STATE / 'cluster' / 'bin'}:{environment['PATH']}"
    process = await asyncio.create_subprocess_exec(
        ROOT / "scripts" / "platform-backup",
        *words,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), timeout=400)
    assert process.returncode == 0, out.decode()
    return out.decode()


async def is_answering(api: Api) -> bool:
    """Check whether the token is accepted; without its database the gateway is not reachable."""
    try:
        return (await api.get("/stores")).status == 200
    except aiohttp.ClientError:
        return False


async def test_backup_restores_lost_database(deployment: Deployment) -> None:
    run = generate_id("sto")[4:12]  # unique, because earlier runs may have used the platform
    name = f"kept-{run}"
    api = await deployment.create_tenant(name)
    made = await api.create(name, engine="oscar")
    operation = await api.wait_until_done(made["operation"]["id"], within=60)
    assert operation["state"] == "succeeded"
    said = await run_backup_script(deployment, "now")
    dump = next(
        word for word in said.split() if word.startswith("storefleet-") and word.endswith(".dump")
    )
    assert dump in await run_backup_script(deployment, "list")
    forgotten = await deployment.create_tenant(f"forgotten-{run}")

    await deployment.run_program(
        "kubectl", "delete", "pvc", "data-postgres-0", "-n", PLATFORM, "--wait=false"
    )
    await deployment.run_program("kubectl", "delete", "pod", "postgres-0", "-n", PLATFORM)
    await eventually(lambda: _is_ready(deployment), within=120, every=1)
    assert not await is_answering(api)  # the data is gone

    await run_backup_script(deployment, "restore", dump, "--yes")
    await eventually(lambda: is_answering(api), within=60, every=0.5)
    store = await api.store(name)
    assert (store["id"], store["state"]) == (made["store"]["id"], "ready")
    again = (await api.get(f"/operations/{operation['id']}")).body
    assert [step["name"] for step in again["steps"]] == [
        step["name"] for step in operation["steps"]
    ]
    assert (await forgotten.get("/stores")).status == 401

    deletion = await api.delete(f"/stores/{name}")
    ended = await api.wait_until_done(deletion.body["operation"]["id"], within=60)
    assert ended["state"] == "succeeded"
    assert await deployment.list_leftovers(store["id"]) == []


async def _is_ready(deployment: Deployment) -> bool:
    pods = await deployment.list_pods("postgres")
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for pod in pods
        for condition in pod["status"].get("conditions", ())
    )
