"""The platform's rendered chart: lint, Kubernetes schemas, golden files, validation of values."""

import json
import os
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from tests.support.cluster.charts import PLATFORM, Manifest, render, render_objects, run_helm
from tests.support.cluster.pod_templates import PLATFORM_VALUES, render_all_charts

GOLDEN = Path(__file__).parent / "golden"
#: Read at import, because the tests remove settings from the environment.
WRITE = os.environ.get("STOREFLEET_TEST_WRITE_GOLDEN") == "1"
ALL = list(render_all_charts())


@pytest.mark.parametrize("case", PLATFORM_VALUES)
def test_chart_passes_helm_lint(case: str) -> None:
    how = PLATFORM_VALUES[case]
    files = [f"--values={PLATFORM / file}" for file in how.get("files", ())]
    done = run_helm(
        "lint",
        "--strict",
        str(PLATFORM),
        *files,
        "--values=-",
        sent=json.dumps(how.get("values", {})),
    )
    assert done.returncode == 0, done.stdout + done.stderr


#: API groups of custom resources: Gateway API, cert-manager, Prometheus operator.
FOREIGN = ("gateway.networking.k8s.io/", "cert-manager.io/", "monitoring.coreos.com/")


@pytest.mark.parametrize(
    ("chart", "case", "objects"), ALL, ids=[f"{chart}-{case}" for chart, case, _ in ALL]
)
def test_rendered_objects_match_kubernetes_schema(
    chart: str, case: str, objects: list[Manifest]
) -> None:
    assert objects, (chart, case)
    for each in objects:
        if not each["apiVersion"].startswith(FOREIGN):
            kubernetes_validate.validate(each, "1.36", strict=True)


@pytest.mark.parametrize("case", ["local", "prod", "extras"])
def test_rendered_chart_equals_golden_file(case: str) -> None:
    """After an intended change, run with STOREFLEET_TEST_WRITE_GOLDEN=1 and review the diff."""
    made, file = render(**PLATFORM_VALUES[case]), GOLDEN / f"platform-{case}.yaml"
    if WRITE:
        file.write_text(made, encoding="utf-8")
    assert made == file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"publicUrl": "stores.example.com"}, "publicUrl"),
        ({"publicLiveUrl": "https://stores.example.com"}, "publicLiveUrl"),
        ({"runtime": "local"}, "runtime"),
        ({"replicas": 2}, "replicas"),
        ({"gateway": {"replicas": 0}}, "replicas"),
        ({"nats": {"replicas": 2}}, "replicas"),
        ({"image": {"tag": "latest"}}, "tag"),
        ({"image": {"digest": "sha256:abc"}}, "digest"),
        ({"postgresql": {"enabled": False}}, "secret"),
        ({"nats": {"enabled": False}}, "secret"),
        ({"exposure": {"type": "loadbalancer"}}, "type"),
        ({"backup": {"keep": 0}}, "keep"),
        ({"backup": {"schedule": "daily"}}, "schedule"),
        ({"monitoring": {"rules": {"runbook": "docs"}}}, "runbook"),
        ({"exposure": {"type": "httproute", "host": "a.example.com"}}, "gateway"),
        ({"exposure": {"address": "traefik.traefik.svc"}}, "address"),
        ({"settings": {"DATABASE_URL": "postgresql://u:p@h/d"}}, "DATABASE_URL"),
        ({"settings": {"NATS_URL": "nats://u:p@h"}}, "NATS_URL"),
        ({"settings": {"ADMIN_PASSWORD": "x"}}, "ADMIN_PASSWORD"),
        ({"admin": {"email": "nobody"}}, "email"),
        ({"stores": {"domain": "UPPER.example.com"}}, "domain"),
    ],
)
def test_invalid_values_are_rejected_by_name(values: dict[str, Any], named: str) -> None:
    done = run_helm("template", "storefleet", str(PLATFORM), "--values=-", sent=json.dumps(values))
    assert done.returncode != 0
    assert named in done.stderr


def find_object(objects: list[Manifest], kind: str, name: str) -> Manifest:
    return next(
        each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name
    )


def read_settings(deployment: Manifest) -> dict[str, str]:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {
        variable["name"].removeprefix("STOREFLEET_"): variable["value"]
        for variable in container["env"]
    }


def test_upgrade_renders_new_setup_job() -> None:
    def job(*arguments: str) -> str:
        done = run_helm(
            "template", "storefleet", str(PLATFORM), "--show-only=templates/setup.yaml", *arguments
        )
        return next(line for line in done.stdout.splitlines() if line.startswith("  name: setup-"))

    names = {
        job(),
        job("--set=image.tag=0.9.9"),
        job("--set=setup.timeout=60"),
        job("--is-upgrade"),
    }
    assert len(names) == 3, (
        "`template` does not increment the revision, so --is-upgrade renders the same name"
    )
    assert 'storefleet.dev/release: "1"' in render(templates=("templates/setup.yaml",))


def test_external_servers_replace_bundled_ones() -> None:
    objects = render_objects(files=("values-prod.yaml",))
    assert not {each["metadata"]["name"] for each in objects} & {"postgres", "nats", "nats-peers"}
    deployment = find_object(objects, "Deployment", "provisioner")
    (volume,) = (
        each
        for each in deployment["spec"]["template"]["spec"]["volumes"]
        if each["name"] == "secrets"
    )
    found = [
        (each["secret"]["name"], each["secret"]["items"][0]["key"])
        for each in volume["projected"]["sources"]
    ]
    assert found == [("database", "url"), ("bus", "provisioner")]
    job = find_object(objects, "Job", "secrets")
    assert not any(
        word.startswith(("--postgres", "--nats"))
        for word in job["spec"]["template"]["spec"]["containers"][0]["args"]
    )


def test_service_mounts_only_its_own_nats_secret() -> None:
    objects = render_objects(files=("values-local.yaml",))
    for name in ("gateway", "provisioner", "reaper", "notifier"):
        spec = find_object(objects, "Deployment", name)["spec"]["template"]["spec"]
        text = json.dumps(spec["volumes"])
        assert f'"key": "{name}"' in text
        others = {"gateway", "provisioner", "reaper", "notifier", "node"} - {name}
        assert not any(f'"key": "{other}"' in text for other in others)
        assert "storefleet-postgres" not in text
        assert "storefleet-admin" not in text


def test_public_url_comes_from_values_or_exposure() -> None:
    told = read_settings(
        find_object(
            render_objects(
                values={
                    "publicUrl": "http://10.0.0.1:30080",
                    "publicLiveUrl": "ws://10.0.0.1:30081",
                }
            ),
            "Deployment",
            "gateway",
        )
    )
    assert (told["PUBLIC_URL"], told["PUBLIC_LIVE_URL"]) == (
        "http://10.0.0.1:30080",
        "ws://10.0.0.1:30081",
    )
    told = read_settings(
        find_object(render_objects(files=("values-prod.yaml",)), "Deployment", "gateway")
    )
    assert (told["PUBLIC_URL"], told["PUBLIC_LIVE_URL"]) == (
        "https://storefleet.example.com",
        "wss://storefleet.example.com",
    )
    told = read_settings(find_object(render_objects(), "Deployment", "gateway"))
    assert "PUBLIC_URL" not in told


def test_settings_are_passed_to_services() -> None:
    objects = render_objects(
        values={
            "settings": {"STORES_PER_HOUR": 1000000, "BODY_LIMIT": 70000},
            "stores": {"publicPort": 8443},
        }
    )
    told = read_settings(find_object(objects, "Deployment", "provisioner"))
    assert (told["STORES_PER_HOUR"], told["BODY_LIMIT"], told["STORE_PUBLIC_PORT"]) == (
        "1000000",
        "70000",
        "8443",
    )


def test_admission_policy_excludes_platform_host() -> None:
    host = "storefleet.stores.example.com"
    objects = render_objects(files=("values-prod.yaml",), values={"exposure": {"host": host}})
    policy = find_object(objects, "ValidatingAdmissionPolicy", "storefleet-provisioner-namespaces")
    assert any(f"!= '{host}'" in each["expression"] for each in policy["spec"]["validations"])
