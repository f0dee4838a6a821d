"""Measure every engine: create, idle memory, upgrade and rollback with a customer, delete."""

import json
import secrets
import time
from typing import Any
from urllib.parse import urlsplit

from storefleet.core.identifiers import make_resource_name
from storefleet.engines import catalogue
from storefleet.engines.descriptor import Engine
from tests.bench import cluster, stage
from tests.bench.figures import ROOT, Sheet
from tests.support.stores.customer import Customer

PART = "engines"
LEAST = 5  # stores of an engine
IDLE = 30.0  # from ready to the look at what it takes
_AROUND = 3.0  # seconds that the customer asks before and after
CREATE = {"woocommerce": 14, "medusa": 18, "oscar": 10}
UPGRADE = {"woocommerce": 30}
MEMORY = {"woocommerce": 350, "medusa": 700}
DELETE, FAILED = 12, 5


def measure(runs: int) -> Sheet:
    """Measure at least five stores of each engine, one by one, on a deployed platform."""
    sheet = Sheet(PART)
    record = json.loads((cluster.STATE / "cluster.json").read_text(encoding="utf-8"))
    known = catalogue.load_engines([ROOT / "charts"], runtime="kubernetes")
    for offered in stage.ask(record["url"], record["token"], "GET", "engines")["data"]:
        engine = known.find(offered["name"])
        if engine is None:
            sheet.note(f"{offered['name']}: no descriptor here, so it was not measured.")
            continue
        caller = cluster.tenant(record)
        for _ in range(max(LEAST, runs)):
            _Store(sheet, record, caller, engine).measure(offered)
    return sheet


class _Store:
    """One, from nothing to nothing."""

    def __init__(self, sheet: Sheet, record: dict[str, Any], caller: str, engine: Engine) -> None:
        self._sheet, self._record, self._caller, self._engine = sheet, record, caller, engine
        self._name = f"bench-{secrets.token_hex(4)}"
        self._what = engine.name

    def measure(self, offered: dict[str, Any]) -> None:
        default = offered["default_version"]
        other = next((version for version in _versions(offered) if version != default), None)
        body = {"name": self._name, "engine": self._what, "version": other or default}
        self._timed("create → ready", "POST", "stores", body, limit=CREATE.get(self._what))
        time.sleep(IDLE)
        self._memory()
        if other is None:
            self._sheet.note(f"{self._what} has one version, so there is nothing to upgrade to.")
        else:
            self._watched("upgrade", {"version": default}, limit=UPGRADE.get(self._what))
            self._watched("rollback", {"restore": False})
        self._timed("delete → gone", "DELETE", f"stores/{self._name}", limit=DELETE)

    def _timed(
        self,
        what: str,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        limit: float | None = None,
    ) -> None:
        seconds, operation = cluster.timed(self._record, self._caller, method, path, body)
        self._sheet.add(f"{self._what}: {what}", "s", seconds, limit=limit)
        for step in operation["steps"]:
            self._sheet.add(
                f"  {self._what}: {what.split(maxsplit=1)[0]}, {step['name']}",
                "s",
                cluster.length(step),
            )

    def _watched(self, verb: str, body: dict[str, Any], *, limit: float | None = None) -> None:
        with self._customer().visiting() as customer:
            time.sleep(_AROUND)
            self._timed(verb, "POST", f"stores/{self._name}/{verb}", body, limit=limit)
            time.sleep(_AROUND)
        self._sheet.add(
            f"{self._what}: {verb}, longest gap", "s", max(customer.gaps, default=0), limit=FAILED
        )
        self._sheet.add(f"{self._what}: {verb}, all gaps", "s", sum(customer.gaps), limit=FAILED)
        self._sheet.add(f"{self._what}: {verb}, slowest answer", "s", customer.slowest)
        if customer.problems:
            self._sheet.note(f"{self._what}, {verb}: {', '.join(customer.problems)}")

    def _customer(self) -> Customer:
        store = self._store()
        command = (
            "get",
            "service",
            "web",
            "--namespace",
            make_resource_name(store["id"]),
            "--output",
        )
        address = cluster.kubectl(self._record, *command, "jsonpath={.spec.clusterIP}")
        page = self._engine.storefront
        return Customer(
            f"http://{address}{page.path}", host=urlsplit(store["url"]).netloc, expect=page.expect
        )

    def _memory(self) -> None:
        """Of its pods, as their cgroups count: what cannot be given back at once."""
        namespace, total = make_resource_name(self._store()["id"]), 0.0
        for name, size in _pods(self._record, namespace):
            self._sheet.add(f"{self._what}: idle, {name}", "MB", size / 2**20)
            total += size / 2**20
        self._sheet.add(f"{self._what}: idle", "MB", total, limit=MEMORY.get(self._what))

    def _store(self) -> dict[str, Any]:
        return stage.ask(self._record["url"], self._caller, "GET", f"stores/{self._name}")


def _versions(offered: dict[str, Any]) -> list[str]:
    return [each["version"] for each in offered["versions"]]


def _pods(record: dict[str, Any], namespace: str) -> list[tuple[str, float]]:
    """Each component that runs in the namespace, and its bytes."""
    listed = json.loads(
        cluster.kubectl(record, "get", "pods", "--namespace", namespace, "--output", "json")
    )["items"]
    running = {
        pod["metadata"]["name"]: pod for pod in listed if pod["status"]["phase"] == "Running"
    }
    found = []
    for node in {pod["spec"]["nodeName"] for pod in running.values()}:
        summary = json.loads(
            cluster.kubectl(record, "get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary")
        )
        for pod in summary["pods"]:
            reference = pod["podRef"]
            if reference["namespace"] == namespace and reference["name"] in running:
                labels = running[reference["name"]]["metadata"]["labels"]
                found.append(
                    (labels["app.kubernetes.io/component"], float(pod["memory"]["workingSetBytes"]))
                )
    return sorted(found)


if __name__ == "__main__":
    from tests.bench.__main__ import alone

    alone(measure)
