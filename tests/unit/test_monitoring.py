"""Dashboards and alerts use exported metrics and labels; every alert has a runbook section."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from storefleet.observability import metrics
from tests.support.cluster.charts import PLATFORM, render_objects
from tests.support.documents.sources import ROOT

FOLDER = PLATFORM / "monitoring"
#: Series of Prometheus itself, of Python processes, and of kube-state-metrics.
FOREIGN = {"up", "process_resident_memory_bytes", "kube_cronjob_status_last_successful_time"}
#: Labels that Prometheus adds at scrape time, and those of histograms.
GIVEN = {"namespace", "service", "le", "cronjob"}
WORDS = {
    *(
        "sum",
        "max",
        "min",
        "by",
        "rate",
        "increase",
        "histogram_quantile",
        "time",
        "and",
        "or",
        "unless",
        "namespace",
    ),
    *("label_values",),
}


def exported() -> dict[str, set[str]]:
    """Return every series of the services with its labels."""
    found: dict[str, set[str]] = {}
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            for family in metric.describe():
                suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(
                    family.type, ("",)
                )
                for suffix in suffixes:
                    found[family.name + suffix] = set(metric._labelnames)
    return found


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "rules.yaml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
    return content


def expressions() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield f"{panel['title']} {target['refId']}", target["expr"]


EXPRESSIONS = list(expressions())


@pytest.mark.parametrize(("name", "expression"), EXPRESSIONS, ids=[name for name, _ in EXPRESSIONS])
def test_expressions_use_exported_metrics(name: str, expression: str) -> None:
    known = exported()
    assert REGISTRY is not None
    seen = re.findall(r"([a-z_:][a-z0-9_:]*)\{([^}]*)\}", expression)
    assert seen, "an expression without a metric"
    for metric, matchers in seen:
        assert metric in known or metric in FOREIGN, metric
        assert "namespace=" in matchers, "of this deployment alone"
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers):
            assert label in GIVEN or label in known.get(metric, GIVEN), (
                f"{metric} has no label {label}"
            )
    labels = {
        label
        for group in re.findall(r"by \(([^)]*)\)", expression)
        for label in re.split(r",\s*", group)
    }
    for label in labels - GIVEN:
        assert any(label in known.get(metric, ()) for metric, _ in seen), (
            f"nobody has a label {label}"
        )
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|by \([^)]*\)", "", expression)
    assert set(re.findall(r"[a-z_]{2,}", bare)) <= WORDS | {metric for metric, _ in seen}
    for opened, closed in ("()", "[]", "{}"):
        assert expression.count(opened) == expression.count(closed)


def test_exported_metrics_are_shown() -> None:
    shown = " ".join(expression for _, expression in EXPRESSIONS)
    families = {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in exported()}
    assert {name for name in families if name not in shown} == set()


def test_alerts_have_runbook_sections() -> None:
    guide = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    titles = set(re.findall(r"(?m)^#### (Storefleet\w+)$", guide))
    assert titles == {rule["alert"] for rule in rules()}
    for rule in rules():
        assert rule["annotations"]["runbook_url"] == f"RUNBOOK#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert {"summary", "description"} <= rule["annotations"].keys()


def test_chart_sets_namespace() -> None:
    parts = {part: {"enabled": True} for part in ("serviceMonitor", "rules", "dashboard")}
    parts["rules"]["runbook"] = "https://wiki.example.com/runbook"  # type: ignore[assignment]
    objects = render_objects(values={"monitoring": parts}, namespace="shops")
    made = {
        each["kind"]: each
        for each in objects
        if each["metadata"]["labels"].get("app.kubernetes.io/component") == "monitoring"
    }
    assert made.keys() == {"ServiceMonitor", "PrometheusRule", "ConfigMap"}
    text = yaml.safe_dump(made["PrometheusRule"])
    assert 'namespace="shops"' in text
    assert "RUNBOOK" not in text
    assert "NAMESPACE" not in text
    assert "https://wiki.example.com/runbook#storefleetservicedown" in text
    assert json.loads(made["ConfigMap"]["data"]["storefleet.json"]) == dashboard()
    assert made["ConfigMap"]["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_monitor_selects_four_services() -> None:
    objects = render_objects(values={"monitoring": {"serviceMonitor": {"enabled": True}}})
    monitor = next(each for each in objects if each["kind"] == "ServiceMonitor")
    chosen = monitor["spec"]["selector"]
    components = chosen["matchExpressions"][0]["values"]
    services = [
        each["metadata"]["name"]
        for each in objects
        if each["kind"] == "Service"
        and chosen["matchLabels"].items() <= each["metadata"]["labels"].items()
        and each["metadata"]["labels"]["app.kubernetes.io/component"] in components
    ]
    assert sorted(services) == ["gateway", "notifier", "provisioner", "reaper"]


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
