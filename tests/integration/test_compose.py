"""Commands and environment of docker-compose.yml, run without containers."""

import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest_asyncio

from storefleet.deployment.deployment_check import Deployment, check_deployment
from tests.support.services.compose import Stack, remove
from tests.support.services.polling import eventually


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack() -> AsyncIterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="storefleet-compose-"))
    folder.chmod(0o711)
    made = Stack(folder)
    try:
        await made.up()
        yield made
    finally:
        await made.down()
        remove(folder)


def owner(stack: Stack) -> dict[str, str]:
    return {
        key: stack.read("gateway", f"/run/secrets/admin/{key}")
        for key in ("tenant", "email", "password", "token")
    }


async def test_compose_stack_starts_and_accepts_sign_in(stack: Stack) -> None:
    gateway, notifier = (f"http://127.0.0.1:{stack.port[name]}" for name in ("gateway", "notifier"))
    await check_deployment(
        Deployment(gateway_url=gateway, notifier_url=notifier, owner=owner(stack)), timeout_s=40
    )
    async with aiohttp.ClientSession() as session:
        for name in ("gateway", "notifier", "provisioner", "reaper"):

            async def ready(name: str = name) -> bool:
                async with session.get(f"http://127.0.0.1:{stack.port[name]}/readyz") as answer:
                    return answer.status == 200

            await eventually(ready, within=20, every=0.2)


async def test_store_is_created_and_deleted(stack: Stack) -> None:
    headers = {"Authorization": f"Bearer {owner(stack)['token']}"}
    base = f"http://127.0.0.1:{stack.port['gateway']}/api/v1/"
    async with aiohttp.ClientSession(base, headers=headers) as session:

        async def done(answer: aiohttp.ClientResponse) -> dict[str, Any]:
            assert answer.status == 202, await answer.text()
            operation = (await answer.json())["operation"]["id"]
            async with session.get(f"operations/{operation}?wait=40") as ended:
                return dict(await ended.json())

        async with session.post("stores", json={"name": "acme"}) as answer:
            operation = await done(answer)
        assert operation["state"] == "succeeded", (operation, stack.log("node")[-2000:])
        async with session.get("stores/acme") as answer:
            url = (await answer.json())["url"]
        port = int(url.rstrip("/").rpartition(":")[2])
        async with session.get(
            f"http://127.0.0.1:{port}/", headers={"Host": f"acme.localhost:{port}"}
        ) as page:
            assert "Tiny teapot" in await page.text()
        async with session.post("stores/acme/credentials") as answer:
            assert (await answer.json())["username"] == "admin@acme.localhost"
        async with session.delete("stores/acme") as answer:
            assert (await done(answer))["state"] == "succeeded"


async def test_logs_are_json_without_secrets(stack: Stack) -> None:
    secrets = [value for key, value in owner(stack).items() if key in ("password", "token")]
    for name in ("setup", "gateway", "notifier", "provisioner", "reaper"):
        text = stack.log(name)
        assert all(value not in text for value in secrets)
        assert all(json.loads(line) for line in text.splitlines())
