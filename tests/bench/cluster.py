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
    """`runs` times five stores, one after the other; needs `make local-up build deploy`."""
    sheet = Sheet(PART)
    record = json.loads((STATE / "cluster.json").read_text(encoding="utf-8"))
    sheet.add("API server's requests from the idle platform", "1/s", _idle(record), limit=1)
    for _ in range(runs):
        caller = tenant(record)
        for _ in range(ALONE):
            _one(record, caller, sheet)
    return sheet


def _one(record: dict[str, Any], caller: str, sheet: Sheet) -> None:
    """A store from nothing to nothing; its steps are figures of their own."""
    name = f"bench-{secrets.token_hex(4)}"
    before = _requests(record)
    seconds, created = timed(record, caller, "POST", "stores", {"name": name, "engine": ENGINE})
    sheet.add("create → ready, alone", "s", seconds, limit=10)
    for step in created["steps"]:
        sheet.add(f"  {step['name']}", "s", length(step))
    sheet.add("API requests of the platform for it", "requests", _requests(record) - before)
    seconds, _ = timed(record, caller, "DELETE", f"stores/{name}")
    sheet.add("delete → gone, alone", "s", seconds, limit=12)


def length(timed: dict[str, Any], begin: str = "started_at") -> float:
    """Seconds that a step or an operation took by its own times."""
    began, ended = (datetime.fromisoformat(timed[key]) for key in (begin, "finished_at"))
    return (ended - began).total_seconds()


def timed(
    record: dict[str, Any], token: str, method: str, path: str, body: dict[str, Any] | None = None
) -> tuple[float, dict[str, Any]]:
    """Seconds until the operation has succeeded, and the operation."""
    began = time.perf_counter()
    operation = stage.ask(record["url"], token, method, path, body)["operation"]
    while not operation["done"]:
        operation = stage.ask(record["url"], token, "GET", f"operations/{operation['id']}?wait=60")
    if operation["state"] != "succeeded":
        raise RuntimeError(f"{method} {path} ended {operation['state']}: {operation['error']}")
    return time.perf_counter() - began, operation


def tenant(record: dict[str, Any]) -> str:
    """The token of a new tenant, with an hour's stores of its own."""
    name = f"bench-{secrets.token_hex(4)}"
    body = {"name": name, "email": f"{name}@example.com"}
    return str(stage.ask(record["url"], record["token"], "POST", "tenants", body)["token"])


def _idle(record: dict[str, Any]) -> float:
    before = _requests(record)
    time.sleep(IDLE)
    return (_requests(record) - before) / IDLE


def _requests(record: dict[str, Any]) -> float:
    """What the services have asked of the API server so far, by their own count."""
    total = 0.0
    for service, port in (("gateway", 8080), ("provisioner", 8082), ("reaper", 8083)):
        for pod in _pods(record, service):
            text = kubectl(
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


def _pods(record: dict[str, Any], service: str) -> list[str]:
    selector = f"app.kubernetes.io/component={service}"
    found = kubectl(record, "get", "pods", "-n", "storefleet", "-l", selector, "-o", "name")
    return [name.removeprefix("pod/") for name in found.split()]


def kubectl(record: dict[str, Any], *arguments: str) -> str:
    environment = {**os.environ, "KUBECONFIG": record["kubeconfig"]}
    program = STATE / "cluster" / "bin" / "kubectl"
    return subprocess.run(
        [program, *arguments], env=environment, check=True, capture_output=True, text=True
    ).stdout


if __name__ == "__main__":
    from tests.bench.__main__ import alone

    alone(measure)
