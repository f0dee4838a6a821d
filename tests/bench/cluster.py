"""Benchmark stores in a real cluster: time to create and delete, requests of an idle platform."""

import json
import os
import secrets
import subprocess
import time
from datetime import datetime
from typing import Any

from tests.bench import stage
from tests.bench.figures import ROOT, Sheet

PART = "cluster"
ENGINE = "oscar"
ALONE, IDLE = 5, 60.0
STATE = ROOT / ".storefleet"


def measure(runs: int) -> Sheet:
    """Measure five stores per run, one after the other; needs `make local-up build deploy`."""
    sheet = Sheet(PART)
    record = json.loads((STATE / "cluster.json").read_text(encoding="utf-8"))
    sheet.add_value(
        "API server's requests from the idle platform",
        "1/s",
        _measure_idle_request_rate(record),
        limit=1,
    )
    for _ in range(runs):
        caller = create_tenant(record)
        for _ in range(ALONE):
            _measure_store(record, caller, sheet)
    return sheet


def _measure_store(record: dict[str, Any], caller: str, sheet: Sheet) -> None:
    """Create and delete one store; add a figure for each of its steps."""
    name = f"bench-{secrets.token_hex(4)}"
    before = _count_api_requests(record)
    seconds, created = time_operation(
        record, caller, "POST", "stores", {"name": name, "engine": ENGINE}
    )
    sheet.add_value("create → ready, alone", "s", seconds, limit=10)
    for step in created["steps"]:
        sheet.add_value(f"  {step['name']}", "s", get_duration_s(step))
    sheet.add_value(
        "API requests of the platform for it", "requests", _count_api_requests(record) - before
    )
    seconds, _ = time_operation(record, caller, "DELETE", f"stores/{name}")
    sheet.add_value("delete → gone, alone", "s", seconds, limit=12)


def get_duration_s(timed_object: dict[str, Any], start_field: str = "started_at") -> float:
    """Return the seconds between the recorded times of a step or an operation."""
    began, ended = (
        datetime.fromisoformat(timed_object[key]) for key in (start_field, "finished_at")
    )
    return (ended - began).total_seconds()


def time_operation(
    record: dict[str, Any], token: str, method: str, path: str, body: dict[str, Any] | None = None
) -> tuple[float, dict[str, Any]]:
    """Request an operation; return the seconds until it succeeded, and the operation."""
    began = time.perf_counter()
    operation = stage.call_api(record["url"], token, method, path, body)["operation"]
    while not operation["done"]:
        operation = stage.call_api(
            record["url"], token, "GET", f"operations/{operation['id']}?wait=60"
        )
    if operation["state"] != "succeeded":
        raise RuntimeError(f"{method} {path} ended {operation['state']}: {operation['error']}")
    return time.perf_counter() - began, operation


def create_tenant(record: dict[str, Any]) -> str:
    """Create a tenant, which has a store limit per hour of its own; return its token."""
    name = f"bench-{secrets.token_hex(4)}"
    body = {"name": name, "email": f"{name}@example.com"}
    return str(stage.call_api(record["url"], record["token"], "POST", "tenants", body)["token"])


def _measure_idle_request_rate(record: dict[str, Any]) -> float:
    before = _count_api_requests(record)
    time.sleep(IDLE)
    return (_count_api_requests(record) - before) / IDLE


def _count_api_requests(record: dict[str, Any]) -> float:
    """Return how many requests the services have sent to the API server, from their metrics."""
    total = 0.0
    for service, port in (("gateway", 8080), ("provisioner", 8082), ("reaper", 8083)):
        for pod in _list_pods(record, service):
            text = run_kubectl(
                record,
                "get",
                "--raw",
                f"/api/v1/namespaces/storefleet/pods/{pod}:{port}/proxy/metrics",
            )
            total += sum(
                float(line.rpartition(" ")[2])
                for line in text.splitlines()
                if line.startswith("storefleet_kubernetes_requests_total")
            )
    return total


def _list_pods(record: dict[str, Any], service: str) -> list[str]:
    selector = f"app.kubernetes.io/component={service}"
    found = run_kubectl(record, "get", "pods", "-n", "storefleet", "-l", selector, "-o", "name")
    return [name.removeprefix("pod/") for name in found.split()]


def run_kubectl(record: dict[str, Any], *arguments: str) -> str:
    environment = {**os.environ, "KUBECONFIG": record["kubeconfig"]}
    program = STATE / "cluster" / "bin" / "kubectl"
    return subprocess.run(
        [program, *arguments], env=environment, check=True, capture_output=True, text=True
    ).stdout


if __name__ == "__main__":
    from tests.bench.__main__ import run_part

    run_part(measure)
