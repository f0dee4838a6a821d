"""The platform in a cluster, as `make local-up build deploy` left it: its API, and a look at the cluster."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from storefleet.core.identifiers import make_resource_name
from tests.support.client import Api
from tests.support.platform import ROOT
from tests.support.polling import eventually

STATE = ROOT / ".storefleet"
PLATFORM = "storefleet"


class Deployment:
    """One deployed platform."""

    def __init__(self, record: dict[str, Any], api: Api) -> None:
        self.record = record
        self.api = api

    async def tenant(self, name: str) -> Api:
        """A tenant of its own, so that no test uses up another's hour."""
        answer = await self.api.post("/tenants", {"name": name, "email": f"{name}@example.com"})
        assert answer.status == 201, answer.text
        return self.api.with_token(answer.body["token"])

    async def run(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Run a program with the administrator's kubeconfig; what it printed."""
        environment = {**os.environ, "KUBECONFIG": self.record["kubeconfig"]}
        environment["PATH"] = f"{STATE / 'cluster' / 'bin'}:{environment['PATH']}"
        program = shutil.which(arguments[0], path=environment["PATH"])
        assert program is not None, f"{arguments[0]} is missing: run `make local-up`"
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments[1:],
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(
            process.communicate(stdin.encode() if stdin else b""), timeout=300
        )
        assert not check or process.returncode == 0, (
            f"{' '.join(arguments)}: {err.decode()[-2000:]}"
        )
        return out.decode()

    async def objects(self, kind: str, *arguments: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(
            await self.run("kubectl", "get", kind, "-o", "json", *arguments)
        )["items"]
        return found

    async def address(self, store_id: str) -> str:
        """Where the store's Service answers, on this machine."""
        service = json.loads(
            await self.run(
                "kubectl", "get", "service", "web", "-n", make_resource_name(store_id), "-o", "json"
            )
        )
        return f"http://{service['spec']['clusterIP']}:80"

    async def left_of(self, store_id: str) -> list[str]:
        """What the cluster still holds of a store, by name and by label."""
        namespace = make_resource_name(store_id)
        left = [
            f"namespace {o['metadata']['name']}"
            for o in await self.objects("namespaces")
            if _is(o, namespace)
        ]
        left += [
            f"volume {volume['metadata']['name']}"
            for volume in await self.objects("persistentvolumes")
            if volume["spec"].get("claimRef", {}).get("namespace") == namespace
        ]
        kinds = (
            await self.run(
                "kubectl", "api-resources", "--namespaced=false", "--verbs=list", "-o", "name"
            )
        ).split()
        for kind in kinds:
            found = await self.objects(kind, "-l", f"storefleet.dev/store={store_id}")
            left += [f"{kind} {each['metadata']['name']}" for each in found]
        return left

    async def pods(self, component: str, namespace: str = PLATFORM) -> list[dict[str, Any]]:
        """Pods of a component that are not on their way out."""
        found = await self.objects(
            "pods", "-n", namespace, "-l", f"app.kubernetes.io/component={component}"
        )
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    async def logs(self, component: str) -> str:
        texts = [
            await self.run(
                "kubectl", "logs", "-n", PLATFORM, pod["metadata"]["name"], "--tail=-1", check=False
            )
            for pod in await self.pods(component)
        ]
        return "".join(texts)

    async def rolled_out(self) -> None:
        for service in ("gateway", "provisioner", "reaper", "notifier"):
            await self.run(
                "kubectl",
                "rollout",
                "status",
                f"deployment/{service}",
                "-n",
                PLATFORM,
                "--timeout=240s",
            )


def _is(found: dict[str, Any], name: str) -> bool:
    return bool(found["metadata"]["name"] == name)


@asynccontextmanager
async def deployed() -> AsyncIterator[Deployment]:
    """The deployment of this checkout; fails when there is none."""
    path = STATE / "cluster.json"
    assert path.exists(), "no platform in a cluster: run `make local-up build deploy`"
    record = json.loads(path.read_text(encoding="utf-8"))
    timeout = aiohttp.ClientTimeout(total=90)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        api = Api(session, record["url"], record["token"])

        async def answers() -> bool:
            return (await api.get("/engines")).status == 200

        await eventually(answers, within=30)
        yield Deployment(record, api)
