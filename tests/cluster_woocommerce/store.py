"""A WooCommerce store of the deployed platform, with helpers for its namespace."""

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from storefleet.core.identifiers import make_resource_name
from tests.support.cluster.deployment import Deployment
from tests.support.http.client import Api
from tests.support.services.polling import eventually
from tests.support.texts.samples import STORE_TITLE

READY_WITHIN = 180.0
#: Shell command that reads the password in the container and the statement from standard input.
_SQL = (
    "printf '[client]\\npassword=%s\\n' \"$(cat /run/secrets/storefleet/database-password)\""
    " > /tmp/test.cnf;"
    "mariadb --defaults-extra-file=/tmp/test.cnf --host=127.0.0.1 --user=store --skip-ssl"
    " --skip-column-names store"
)


@dataclass(frozen=True)
class Store:
    deployment: Deployment
    api: Api
    id: str
    url: str
    at: str

    @property
    def namespace(self) -> str:
        return make_resource_name(self.id)

    async def read_credentials(self) -> dict[str, str]:
        return dict((await self.api.post(f"/stores/{self.id}/credentials")).body)

    async def wait_for_operation(
        self, operation: str, *, within: float = READY_WITHIN
    ) -> dict[str, Any]:
        return await self.api.wait_until_done(operation, within=within)

    async def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        return await self.deployment.run_program(
            "kubectl", "-n", self.namespace, *arguments, stdin=stdin, check=check
        )

    async def query(self, statement: str) -> list[list[str]]:
        """Run a statement on the store's database and return its rows."""
        told = await self.kubectl(
            "exec", "-i", "database-0", "--", "sh", "-c", _SQL, stdin=statement
        )
        return [line.split("\t") for line in told.splitlines()]

    async def query_number(self, statement: str) -> int:
        return int((await self.query(statement))[0][0])

    async def apply(self, manifest: dict[str, Any]) -> None:
        await self.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    async def get_phase(self, pod: str) -> str:
        return await self.kubectl("get", "pod", pod, "-o", "jsonpath={.status.phase}")

    async def start_setup_pod(
        self, *, mode: str | None = None, volumes: dict[str, dict[str, Any]] | None = None
    ) -> str:
        """Start a pod with the spec of the set-up Job and wait until it runs.

        `mode` is that of the set-up, `volumes` are further ones by their mount paths.
        """
        (job,) = json.loads(
            await self.kubectl(
                "get", "jobs", "-l", "app.kubernetes.io/component=setup", "-o", "json"
            )
        )["items"]
        template = job["spec"]["template"]
        labels = {
            name: value
            for name, value in template["metadata"]["labels"].items()
            if not name.endswith(("job-name", "controller-uid"))
        }
        (container,) = template["spec"]["containers"]
        for number, (path, volume) in enumerate((volumes or {}).items()):
            template["spec"]["volumes"].append({"name": f"extra-{number}", **volume})
            container["volumeMounts"].append({"name": f"extra-{number}", "mountPath": path})
        if mode is not None:
            container["env"] = [{"name": "STORE_SETUP_MODE", "value": mode}]
        name = f"again-{secrets.token_hex(4)}"
        metadata = {"name": name, "labels": labels}
        await self.apply(
            {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        )

        async def begun() -> bool:
            return await self.get_phase(name) in ("Running", "Succeeded", "Failed")

        await eventually(begun, within=60, every=0.1)
        return name

    async def wait_for_end(self, pod: str) -> int:
        """Wait until a pod's container has ended and return its exit status."""
        path = "jsonpath={.status.containerStatuses[0].state.terminated.exitCode}"

        async def look() -> str:
            return await self.kubectl("get", "pod", pod, "-o", path)

        return int(await eventually(look, within=60, every=0.2))

    async def wait_for_pod(self, pod: str, *, within: float = 180) -> str:
        """Wait until a pod has ended, delete it, and return its phase."""

        async def look() -> str | None:
            phase = await self.get_phase(pod)
            return phase if phase in ("Succeeded", "Failed") else None

        phase = await eventually(look, within=within, every=0.2)
        if phase == "Failed":
            print(pod, await self.kubectl("logs", pod, check=False))
        await self.kubectl("delete", "pod", pod, "--wait=false")
        return phase

    async def run_task(self, name: str, **variables: str) -> dict[str, Any]:
        """Run a task like the platform, as a Job from a suspended CronJob; return its result."""
        cron = json.loads(await self.kubectl("get", "cronjob", name, "-o", "json"))
        assert cron["spec"]["suspend"] is True
        spec = cron["spec"]["jobTemplate"]["spec"]
        for container in spec["template"]["spec"]["containers"]:
            container["env"] = [{"name": key, "value": value} for key, value in variables.items()]
        job = f"{name}-{secrets.token_hex(4)}"
        await self.apply(
            {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": job}, "spec": spec}
        )

        async def look() -> dict[str, Any] | None:
            pods = json.loads(
                await self.kubectl("get", "pods", "-l", f"job-name={job}", "-o", "json")
            )["items"]
            states = [
                each["state"] for pod in pods for each in pod["status"].get("containerStatuses", [])
            ]
            return next((state["terminated"] for state in states if "terminated" in state), None)

        end = await eventually(look, within=120, every=0.2)
        words = await self.kubectl("logs", f"job/{job}", check=False)
        return {
            "status": end["exitCode"],
            "told": json.loads(end.get("message") or "null"),
            "words": words,
        }


@asynccontextmanager
async def create_store(deployment: Deployment, **more: Any) -> AsyncIterator[Store]:
    """Create a store in a new tenant; delete it at the end and check that nothing is left."""
    word = secrets.token_hex(4)
    api = await deployment.create_tenant(f"woo-{word}")
    fields = {"engine": "woocommerce", "parameters": {"title": STORE_TITLE}, **more}
    accepted = await api.create(f"woo-{word}", **fields)
    operation = await api.wait_until_done(accepted["operation"]["id"], within=READY_WITHIN)
    assert operation["state"] == "succeeded", operation
    store = await api.store(accepted["store"]["id"])
    yield Store(
        deployment, api, store["id"], store["url"], await deployment.get_address(store["id"])
    )
    answer = await api.delete(f"/stores/{store['id']}")
    operation = await api.wait_until_done(answer.body["operation"]["id"], within=120)
    assert operation["state"] == "succeeded", operation
    assert await deployment.list_leftovers(store["id"]) == []
