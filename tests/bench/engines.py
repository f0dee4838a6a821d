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
MIN_STORES = 5  # per engine
IDLE_PAUSE_S = 30.0  # from ready to the memory measurement
_CUSTOMER_MARGIN_S = 3.0  # of requests before and after a version change
CREATE_LIMITS_S = {"woocommerce": 14, "medusa": 18, "oscar": 10}
UPGRADE_LIMITS_S = {"woocommerce": 30}
MEMORY_LIMITS_MB = {"woocommerce": 350, "medusa": 700}
DELETE_LIMIT_S, GAP_LIMIT_S = 12, 5


def measure(runs: int) -> Sheet:
    """Measure at least five stores of each engine, one by one, on a deployed platform."""
    sheet = Sheet(PART)
    record = json.loads((cluster.STATE / "cluster.json").read_text(encoding="utf-8"))
    known = catalogue.load_engines([ROOT / "charts"], runtime="kubernetes")
    for offered in stage.call_api(record["url"], record["token"], "GET", "engines")["data"]:
        engine = known.find(offered["name"])
        if engine is None:
            sheet.add_note(f"{offered['name']}: no descriptor here, so it was not measured.")
            continue
        caller = cluster.create_tenant(record)
        for _ in range(max(MIN_STORES, runs)):
            _StoreMeasurement(sheet, record, caller, engine).measure_store(offered)
    return sheet


class _StoreMeasurement:
    """Measures one store from its creation to its deletion."""

    def __init__(self, sheet: Sheet, record: dict[str, Any], caller: str, engine: Engine) -> None:
        self._sheet, self._record, self._caller, self._engine = sheet, record, caller, engine
        self._name = f"bench-{secrets.token_hex(4)}"
        self._engine_name = engine.name

    def measure_store(self, offered: dict[str, Any]) -> None:
        default = offered["default_version"]
        other = next((version for version in _list_versions(offered) if version != default), None)
        body = {"name": self._name, "engine": self._engine_name, "version": other or default}
        self._measure_operation(
            "create → ready", "POST", "stores", body, limit=CREATE_LIMITS_S.get(self._engine_name)
        )
        time.sleep(IDLE_PAUSE_S)
        self._measure_memory()
        if other is None:
            self._sheet.add_note(
                f"{self._engine_name} has one version, so there is nothing to upgrade to."
            )
        else:
            self._measure_with_customer(
                "upgrade", {"version": default}, limit=UPGRADE_LIMITS_S.get(self._engine_name)
            )
            self._measure_with_customer("rollback", {"restore": False})
        self._measure_operation(
            "delete → gone", "DELETE", f"stores/{self._name}", limit=DELETE_LIMIT_S
        )

    def _measure_operation(
        self,
        what: str,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        limit: float | None = None,
    ) -> None:
        seconds, operation = cluster.time_operation(self._record, self._caller, method, path, body)
        self._sheet.add_value(f"{self._engine_name}: {what}", "s", seconds, limit=limit)
        for step in operation["steps"]:
            self._sheet.add_value(
                f"  {self._engine_name}: {what.split(maxsplit=1)[0]}, {step['name']}",
                "s",
                cluster.get_duration_s(step),
            )

    def _measure_with_customer(
        self, verb: str, body: dict[str, Any], *, limit: float | None = None
    ) -> None:
        with self._make_customer().visiting() as customer:
            time.sleep(_CUSTOMER_MARGIN_S)
            self._measure_operation(verb, "POST", f"stores/{self._name}/{verb}", body, limit=limit)
            time.sleep(_CUSTOMER_MARGIN_S)
        self._sheet.add_value(
            f"{self._engine_name}: {verb}, longest gap",
            "s",
            max(customer.gaps, default=0),
            limit=GAP_LIMIT_S,
        )
        self._sheet.add_value(
            f"{self._engine_name}: {verb}, all gaps", "s", sum(customer.gaps), limit=GAP_LIMIT_S
        )
        self._sheet.add_value(f"{self._engine_name}: {verb}, slowest answer", "s", customer.slowest)
        if customer.problems:
            self._sheet.add_note(f"{self._engine_name}, {verb}: {', '.join(customer.problems)}")

    def _make_customer(self) -> Customer:
        store = self._get_store()
        command = (
            "get",
            "service",
            "web",
            "--namespace",
            make_resource_name(store["id"]),
            "--output",
        )
        address = cluster.run_kubectl(self._record, *command, "jsonpath={.spec.clusterIP}")
        page = self._engine.storefront
        return Customer(
            f"http://{address}{page.path}", host=urlsplit(store["url"]).netloc, expect=page.expect
        )

    def _measure_memory(self) -> None:
        """Add the working set of each pod, as its cgroup counts it, and their sum."""
        namespace, total = make_resource_name(self._get_store()["id"]), 0.0
        for name, size in _list_pod_memory(self._record, namespace):
            self._sheet.add_value(f"{self._engine_name}: idle, {name}", "MB", size / 2**20)
            total += size / 2**20
        self._sheet.add_value(
            f"{self._engine_name}: idle", "MB", total, limit=MEMORY_LIMITS_MB.get(self._engine_name)
        )

    def _get_store(self) -> dict[str, Any]:
        return stage.call_api(self._record["url"], self._caller, "GET", f"stores/{self._name}")


def _list_versions(offered: dict[str, Any]) -> list[str]:
    return [each["version"] for each in offered["versions"]]


def _list_pod_memory(record: dict[str, Any], namespace: str) -> list[tuple[str, float]]:
    """List the running components of a namespace with their working set in bytes."""
    listed = json.loads(
        cluster.run_kubectl(record, "get", "pods", "--namespace", namespace, "--output", "json")
    )["items"]
    running = {
        pod["metadata"]["name"]: pod for pod in listed if pod["status"]["phase"] == "Running"
    }
    found = []
    for node in {pod["spec"]["nodeName"] for pod in running.values()}:
        summary = json.loads(
            cluster.run_kubectl(record, "get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary")
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
    from tests.bench.__main__ import run_part

    run_part(measure)
