"""Sample stores, engines and resource snapshots for the kubernetes runtime."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storefleet.core.models import Store
from storefleet.engines import catalogue
from storefleet.engines.catalogue import EngineCatalogue
from storefleet.engines.descriptor import Engine
from storefleet.runtimes.kubernetes.readiness.snapshots import (
    ContainerSnapshot,
    PodSnapshot,
    WorkloadSnapshot,
)

ENGINES = Path(__file__).parents[2] / "fixtures" / "engines" / "kubernetes"
STORE_ID = "sto_0123456789abcdef"
NAMESPACE = "st-0123456789abcdef"


def pocket_engines() -> EngineCatalogue:
    return catalogue.load_engines([ENGINES], runtime="kubernetes")


def pocket() -> Engine:
    return pocket_engines().get_offered("pocket")


def a_store(store_id: str = STORE_ID, *, name: str = "acme", **parameters: Any) -> Store:
    return Store(
        id=store_id,
        tenant_id="ten_0123456789abcdef",
        name=name,
        engine="pocket",
        engine_version="1.0.0",
        parameters=parameters,
        state="provisioning",
        url=None,
        admin_url=None,
        failure=None,
        created_at=datetime(2026, 11, 25, tzinfo=UTC),
        ready_at=None,
        deleted_at=None,
        version=1,
    )


def a_container(**fields: Any) -> ContainerSnapshot:
    return ContainerSnapshot(
        **{
            "name": "web",
            "is_ready": False,
            "restarts": 0,
            "waiting_reason": "",
            "waiting_message": "",
            "last_exit": "",
            **fields,
        }
    )


def a_pod(*containers: ContainerSnapshot, **fields: Any) -> PodSnapshot:
    usual: dict[str, Any] = {
        "name": "web-1",
        "uid": "p1",
        "component": "web",
        "owner_uid": "rs",
        "phase": "Running",
        "is_terminating": False,
        "is_ready": False,
        "unschedulable_reason": "",
        "reason": "",
        "containers": containers or (a_container(),),
    }
    return PodSnapshot(**{**usual, **fields})


def a_workload(kind: str = "Deployment", **fields: Any) -> WorkloadSnapshot:
    component = {"Deployment": "web", "StatefulSet": "database", "Job": "setup"}[kind]
    usual: dict[str, Any] = {
        "kind": kind,
        "name": component,
        "uid": f"u-{component}",
        "component": component,
        "is_terminating": False,
        "is_spec_observed": True,
        "wanted_replicas": 1,
        "updated_replicas": 1,
        "ready_replicas": 1,
        "is_complete": kind == "Job",
        "failure": "",
        "rejection": "",
        "failed_pods": 0,
    }
    return WorkloadSnapshot(**{**usual, **fields})
