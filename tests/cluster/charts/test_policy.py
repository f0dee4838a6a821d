"""Security policy for all charts: required properties of pods, forbidden objects of stores."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from storefleet.runtimes.kubernetes.api.resource_kinds import COMPONENT_LABEL, STORE_LABEL
from tests.support.cluster.charts import Manifest
from tests.support.cluster.pod_templates import (
    Template,
    render_all_charts,
    store_charts,
    templates_of,
)

#: Chart and component of the pods that use the API server; no others may.
TOKENS = {("platform", name) for name in ("gateway", "provisioner", "reaper", "secrets")}
VOLUMES = {"configMap", "secret", "projected", "emptyDir", "persistentVolumeClaim"}
STORE_KINDS = {
    *(
        "ConfigMap",
        "Service",
        "PersistentVolumeClaim",
        "Deployment",
        "StatefulSet",
        "Job",
        "CronJob",
    ),
    *("Ingress", "HTTPRoute"),
}
IMAGE = re.compile(
    r"[a-z0-9][a-z0-9._/:-]*(:(?!latest$)[A-Za-z0-9_][A-Za-z0-9._-]*|@sha256:[a-f0-9]{64})"
)
SECRET_NAME = re.compile(r"(?i)password|passwd|token|secret|credential|api_?key")
#: A setting that names the location of secrets is not a secret.
PLACE = re.compile(r"(?i)_(dir|file|folder)$")
ADDRESS_WITH_SECRET = re.compile(r"\w+://[^\s/@:]+:[^\s/@]+@")

ALL = list(render_all_charts())
TEMPLATES = [
    template for chart, case, objects in ALL for template in templates_of(chart, case, objects)
]
STORES = [(chart, case, objects) for chart, case, objects in ALL if chart != "platform"]


def every_template() -> Any:
    return pytest.mark.parametrize("template", TEMPLATES, ids=lambda t: str(t).replace(" ", "-"))


def every_chart(which: list[tuple[str, str, list[Manifest]]]) -> Any:
    return pytest.mark.parametrize(
        "objects", [o for *_, o in which], ids=[f"{c}-{case}" for c, case, _ in which]
    )


def test_charts_render_all_workload_kinds() -> None:
    assert {template.chart for template in TEMPLATES} == {
        "platform",
        *(engine.name for engine in store_charts()),
    }
    assert {template.kind for template in TEMPLATES} >= {"Deployment", "StatefulSet", "Job", "Pod"}
    assert STORES


@every_template()
def test_pod_is_unprivileged_and_restricted(template: Template) -> None:
    context = template.spec["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] >= 10_000
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers", "hostAliases"} & set(
        template.spec
    )
    assert not {"sysctls", "supplementalGroups"} & set(context)
    assert template.spec["enableServiceLinks"] is False


@every_template()
def test_only_listed_pods_mount_service_account_token(template: Template) -> None:
    asks = template.spec["automountServiceAccountToken"]
    assert asks is False or (template.chart, template.component) in TOKENS
    if not asks:
        assert not any(
            "serviceAccountToken" in json.dumps(volume)
            for volume in template.spec.get("volumes", [])
        )


@every_template()
def test_volumes_are_of_allowed_types_and_limited(template: Template) -> None:
    for volume in template.spec.get("volumes", []):
        kinds = set(volume) - {"name"}
        assert kinds <= VOLUMES
        if "emptyDir" in volume:
            assert volume["emptyDir"].get("sizeLimit"), volume
        if "secret" in volume or "projected" in volume:
            (content,) = (volume[kind] for kind in kinds)
            assert content["defaultMode"] == 0o440, "only the pod's group may read them"


@every_template()
def test_container_is_read_only_without_privileges(template: Template) -> None:
    for container in template.containers:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert set(context) == {
            "allowPrivilegeEscalation",
            "readOnlyRootFilesystem",
            "capabilities",
        }


@every_template()
def test_container_declares_resources(template: Template) -> None:
    for container in template.containers:
        resources = container["resources"]
        assert {"cpu", "memory"} <= set(resources["requests"]), container["name"]
        assert "memory" in resources["limits"], container["name"]


@every_template()
def test_image_is_pinned(template: Template) -> None:
    for container in template.containers:
        assert IMAGE.fullmatch(container["image"]), container["image"]


@every_template()
def test_environment_contains_no_secret(template: Template) -> None:
    for container in template.containers:
        assert "envFrom" not in container
        for variable in container.get("env", []):
            assert "valueFrom" not in variable, (
                "secrets must be files: variables are visible in many places"
            )
            named = SECRET_NAME.search(variable["name"]) and not PLACE.search(variable["name"])
            assert not named, variable["name"]
        words = json.dumps([container.get("command"), container.get("args"), container.get("env")])
        assert not ADDRESS_WITH_SECRET.search(words)


@every_template()
def test_long_running_containers_have_probes(template: Template) -> None:
    if template.kind not in ("Deployment", "StatefulSet"):
        return
    for container in template.spec["containers"]:
        if container.get("ports"):
            assert "readinessProbe" in container, container["name"]
            assert {"livenessProbe", "startupProbe"} & set(container), container["name"]
            assert container["readinessProbe"].get("timeoutSeconds", 1) <= 10


@every_template()
def test_pod_grace_period_and_job_retries_are_bounded(template: Template) -> None:
    if template.kind != "Pod":
        assert template.spec["terminationGracePeriodSeconds"] <= 150
    if template.kind == "Job":
        assert "backoffLimit" in template.owner["spec"]
        assert template.spec["restartPolicy"] in ("Never", "OnFailure")


@every_chart(ALL)
def test_charts_contain_no_secret(objects: list[Manifest]) -> None:
    assert "Secret" not in {each["kind"] for each in objects}
    assert not ADDRESS_WITH_SECRET.search(json.dumps(objects))
    for path, value in iterate_leaves(objects):
        if SECRET_NAME.search(path[-1]) and isinstance(value, str) and path[-2:-1] == ("data",):
            raise AssertionError(path)


@every_chart(ALL)
def test_service_selector_matches_pods(objects: list[Manifest]) -> None:
    labels = [
        each["spec"]["template"]["metadata"]["labels"]
        for each in objects
        if each["kind"] in ("Deployment", "StatefulSet")
    ]
    for service in (each for each in objects if each["kind"] == "Service"):
        selector = service["spec"]["selector"].items()
        assert any(selector <= found.items() for found in labels), service["metadata"]["name"]


@every_chart(STORES)
def test_store_chart_contains_only_namespaced_objects(objects: list[Manifest]) -> None:
    assert {each["kind"] for each in objects} <= STORE_KINDS
    assert all(each["metadata"].get("namespace") in (None, "st-a") for each in objects)
    assert all(each["spec"]["suspend"] is True for each in objects if each["kind"] == "CronJob")


@every_chart(STORES)
def test_store_objects_have_store_label(objects: list[Manifest]) -> None:
    places = [each["metadata"] for each in objects]
    places += [
        each["spec"]["template"]["metadata"]
        for each in objects
        if "template" in each.get("spec", {})
    ]
    for each in objects:
        places += [
            claim["metadata"] for claim in each.get("spec", {}).get("volumeClaimTemplates", [])
        ]
    for metadata in places:
        assert metadata["labels"][STORE_LABEL].startswith("sto_")
        assert metadata["labels"].get(COMPONENT_LABEL) in ("web", "database", "setup")


@every_chart(STORES)
def test_store_exposes_only_its_own_host(objects: list[Manifest]) -> None:
    for each in objects:
        if each["kind"] == "Service":
            assert each["spec"].get("type", "ClusterIP") == "ClusterIP"
            assert "externalIPs" not in each["spec"]
        if each["kind"] == "Ingress":
            assert [rule["host"] for rule in each["spec"]["rules"]] == ["acme.localhost"]
            assert each["spec"]["tls"] == [{"hosts": ["acme.localhost"]}]
        if each["kind"] == "HTTPRoute":
            assert each["spec"]["hostnames"] == ["acme.localhost"]
            assert each["spec"]["parentRefs"] == [
                {"namespace": "edge", "name": "public", "sectionName": "stores"}
            ]
        if each["kind"] in {"Ingress", "HTTPRoute"}:
            assert not each["metadata"].get("annotations")
    assert [each["metadata"]["name"] for each in objects if each["kind"] == "Service"].count(
        "web"
    ) == 1


@every_chart(STORES)
def test_store_volumes_are_deleted_and_setup_is_bounded(objects: list[Manifest]) -> None:
    for each in objects:
        if each["kind"] == "StatefulSet" and each["spec"].get("volumeClaimTemplates"):
            assert each["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete"
        if each["kind"] == "Job":
            assert re.fullmatch(r"setup-[0-9a-f]{8}", each["metadata"]["name"])
            assert each["spec"]["activeDeadlineSeconds"] <= 900


@every_chart(STORES)
def test_store_tasks_are_suspended(objects: list[Manifest]) -> None:
    for each in objects:
        if each["kind"] == "CronJob":
            assert each["spec"]["suspend"] is True
            assert each["metadata"]["name"] in ("dump", "restore", "orders")
            assert (
                each["spec"]["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] == "Never"
            )


def iterate_leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every leaf with its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from iterate_leaves(inner, (*path, key))
    elif isinstance(value, list):
        for inner in value:
            yield from iterate_leaves(inner, (*path, "[]"))
    else:
        yield path, value
