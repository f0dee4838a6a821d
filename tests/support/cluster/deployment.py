"""The platform deployed by `make local-up build deploy`: its API and its cluster."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from storefleet.core.identifiers import make_resource_name
from tests.support.http.client import Api
from tests.support.services.platform import ROOT
from tests.support.services.polling import eventually

STATE = ROOT / ".storefleet"
PLATFORM = "storefleet"


#: Make every storefront check and cron call due, with the reaper's own connection.
_MAKE_CHECKS_DUE = """
import asyncio
from storefleet.core.settings import read_settings
from storefleet.database.pool import Database

async def main():
    database = Database(read_settings().database_url.get_secret_value())
    async with database.open_pool(), database.autocommit() as db:
        await db.connection.execute("UPDATE storefront_checks SET due_at = now()")
        await db.connection.execute("UPDATE ticks SET due_at = now()")

asyncio.run(main())
"""


class Deployment:
    """One deployed platform."""

    def __init__(self, record: dict[str, Any], api: Api) -> None:
        self.record = record
        self.api = api

    async def create_tenant(self, name: str) -> Api:
        """Create a tenant, so that tests do not share the limit of stores per hour."""
        answer = await self.api.post("/tenants", {"name": name, "email": f"{name}@example.com"})
        assert answer.status == 201, answer.text
        return self.api.with_token(answer.body["token"])

    async def run_program(
        self, *arguments: str, stdin: str | None = None, check: bool = True
    ) -> str:
        """Run a program with the administrator's kubeconfig and return its output."""
        environment = {**os.environ, "KUBECONFIG": self.record["kubeconfig"]}
        environment["PATH"] = f"{STATE / 'cluster' / 'bin'}:{environment['PATH']}"
        program = shutil.which(arguments[0], path=environment["PATH"])
        assert program is not None, f"{arguments[0]} is missing. Run `make local-up`."
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

    async def make_checks_due(self) -> None:
        """Let the reaper check storefronts and call cron addresses now."""
        await self.run_program(
            *("kubectl", "exec", "-i", "deployment/reaper", "-n", PLATFORM, "--"),
            *("python", "-"),
            stdin=_MAKE_CHECKS_DUE,
        )

    async def list_objects(self, kind: str, *arguments: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(
            await self.run_program("kubectl", "get", kind, "-o", "json", *arguments)
        )["items"]
        return found

    async def get_address(self, store_id: str) -> str:
        """Return the URL of the store's Service as seen from this machine."""
        service = json.loads(
            await self.run_program(
                "kubectl", "get", "service", "web", "-n", make_resource_name(store_id), "-o", "json"
            )
        )
        return f"http://{service['spec']['clusterIP']}:80"

    async def list_leftovers(self, store_id: str) -> list[str]:
        """List what the cluster still has of a store, by name and by label."""
        namespace = make_resource_name(store_id)
        left = [
            f"namespace {o['metadata']['name']}"
            for o in await self.list_objects("namespaces")
            if _has_name(o, namespace)
        ]
        left += [
            f"volume {volume['metadata']['name']}"
            for volume in await self.list_objects("persistentvolumes")
            if volume["spec"].get("claimRef", {}).get("namespace") == namespace
        ]
        kinds = (
            await self.run_program(
                "kubectl", "api-resources", "--namespaced=false", "--verbs=list", "-o", "name"
            )
        ).split()
        for kind in kinds:
            found = await self.list_objects(kind, "-l", f"storefleet.dev/store={store_id}")
            left += [f"{kind} {each['metadata']['name']}" for each in found]
        return left

    async def list_pods(self, component: str, namespace: str = PLATFORM) -> list[dict[str, Any]]:
        """Return the pods of a component that are not terminating."""
        found = await self.list_objects(
            "pods", "-n", namespace, "-l", f"app.kubernetes.io/component={component}"
        )
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    async def read_logs(self, component: str) -> str:
        texts = [
            await self.run_program(
                "kubectl", "logs", "-n", PLATFORM, pod["metadata"]["name"], "--tail=-1", check=False
            )
            for pod in await self.list_pods(component)
        ]
        return "".join(texts)

    async def wait_for_rollout(self) -> None:
        for service in ("gateway", "provisioner", "reaper", "notifier"):
            await self.run_program(
                "kubectl",
                "rollout",
                "status",
                f"deployment/{service}",
                "-n",
                PLATFORM,
                "--timeout=240s",
            )


def _has_name(found: dict[str, Any], name: str) -> bool:
    return bool(found["metadata"]["name"] == name)


@asynccontextmanager
async def open_deployment() -> AsyncIterator[Deployment]:
    """Open the deployment of this checkout; fails if there is none."""
    path = STATE / "cluster.json"
    assert path.exists(), "No platform is deployed. Run `make local-up build deploy`."
    record = json.loads(path.read_text(encoding="utf-8"))
    timeout = aiohttp.ClientTimeout(total=90)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        api = Api(session, record["url"], record["token"])

        async def answers() -> bool:
            return (await api.get("/engines")).status == 200

        await eventually(answers, within=30)
        yield Deployment(record, api)
