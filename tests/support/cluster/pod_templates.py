"""Rendered charts and the pod templates in them."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import yaml

from storefleet.core.settings import Settings
from storefleet.engines import catalogue
from storefleet.engines.descriptor import Engine
from storefleet.runtimes.kubernetes import manifests
from tests.support.cluster.attacks.namespace_setup import NamespaceObjects
from tests.support.cluster.charts import CHARTS, PLATFORM, Manifest, render_objects

#: Values that together render every template of the platform's chart.
PLATFORM_VALUES: dict[str, dict[str, Any]] = {
    "default": {},
    "local": {"files": ("values-local.yaml",)},
    "prod": {"files": ("values-prod.yaml",)},
    "three-servers": {"values": {"nats": {"replicas": 3}, "gateway": {"replicas": 2}}},
    "route": {
        "values": {
            "exposure": {
                "type": "httproute",
                "host": "s.example.com",
                "gateway": {"namespace": "web", "name": "web"},
            },
            "networkPolicy": {"scrapers": [{"podSelector": {}}]},
            "image": {"pullSecrets": [{"name": "registry"}]},
            "nodeSelector": {"disk": "fast"},
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "priorityClassName": "high",
        }
    },
    "catalogue": {
        "values": {
            "catalogue": {
                "shop": {"default_version": "1", "versions": [{"version": "1", "image": "shop:1"}]}
            }
        }
    },
    "extras": {
        "values": {
            "backup": {"enabled": True},
            "monitoring": {
                part: {"enabled": True} for part in ("serviceMonitor", "rules", "dashboard")
            },
            "exposure": {
                "type": "ingress",
                "host": "s.example.com",
                "tls": {"issuer": {"name": "letsencrypt"}},
            },
            "networkPolicy": {
                "scrapers": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]
            },
        }
    },
    "extern-backup": {
        "files": ("values-prod.yaml",),
        "values": {"backup": {"enabled": True, "claim": "nfs"}},
    },
    "simulated": {"values": {"runtime": "simulated", "networkPolicy": {"enabled": False}}},
}
Exposure = Literal["none", "ingress", "httproute"]
EXPOSURES: tuple[Exposure, ...] = ("none", "ingress", "httproute")
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod", "ReplicaSet")


class Template(NamedTuple):
    """A pod template with its chart, case and owner."""

    chart: str
    case: str
    kind: str
    name: str
    component: str
    spec: dict[str, Any]
    owner: Manifest

    def __str__(self) -> str:
        return f"{self.chart} {self.case} {self.kind} {self.name}"

    @property
    def containers(self) -> list[dict[str, Any]]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def store_charts() -> list[Engine]:
    """Return the engines with a chart of their own, as if their images had been built."""
    with TemporaryDirectory() as folder:
        catalogue_file = Path(folder) / "catalogue.json"
        catalogue_file.write_text(json.dumps(dict(_built())), encoding="utf-8")
        found = catalogue.load_engines(
            [CHARTS], runtime="kubernetes", catalogue_file=catalogue_file
        )
    return [engine for engine in found if engine.kubernetes is not None]


def _built() -> Iterator[tuple[str, dict[str, Any]]]:
    """Add a version to engines whose versions come from the image build."""
    for path in sorted(CHARTS.glob("*/engine.yaml")):
        name, content = path.parent.name, yaml.safe_load(path.read_text(encoding="utf-8"))
        version = {"version": "1.2.3", "image": f"storefleet/{name}:1.2.3"}
        yield name, {} if content.get("versions") else {"versions": [version]}


def rendered_store(engine: Engine, *, exposure: Exposure, **parameters: str) -> list[Manifest]:
    """Render a store's chart with the values that the runtime passes."""
    assert engine.kubernetes is not None
    settings = Settings(
        runtime="kubernetes",
        exposure=exposure,
        route_gateway="edge/public/stores",
        store_scheme="https",
    )
    store = NamespaceObjects("acme").store.copy_with(
        engine=engine.name, engine_version=engine.default_version, parameters=parameters
    )
    values = manifests.make_chart_values(
        store, engine, manifests.locate_store(store, settings), settings
    )
    chart = (engine.folder / engine.kubernetes.chart).resolve()
    return render_objects(chart, values=values, release="store", namespace="st-a")


def render_all_charts() -> Iterator[tuple[str, str, list[Manifest]]]:
    """Yield chart, case and rendered objects of all charts."""
    for case, how in PLATFORM_VALUES.items():
        yield PLATFORM.name, case, render_objects(**how)
    for engine in store_charts():
        for exposure in EXPOSURES:
            yield engine.name, exposure, rendered_store(engine, exposure=exposure)


def templates_of(chart: str, case: str, objects: list[Manifest]) -> Iterator[Template]:
    for each in objects:
        if each["kind"] not in WORKLOADS:
            continue
        spec = each["spec"]
        if each["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        labels = each["metadata"].get("labels", {})
        component = labels.get("app.kubernetes.io/component", "")
        pod = spec if each["kind"] == "Pod" else spec["template"]["spec"]
        yield Template(chart, case, each["kind"], each["metadata"]["name"], component, pod, each)
