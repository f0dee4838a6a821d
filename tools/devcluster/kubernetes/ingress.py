"""Install Traefik as ingress controller, for Ingresses and for HTTPRoutes of the Gateway API.

It runs as a pod in the namespace `traefik`; traefik.py provides program and definitions.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tools.devcluster.errors import ClusterError
from tools.devcluster.kubernetes import images
from tools.devcluster.layout import Layout
from tools.devcluster.programs import traefik

NAMESPACE = CLASS_NAME = GATEWAY_NAME = "traefik"
IMAGE = "docker.io/storefleet/traefik:bare"
WEB_PORT, STATUS_PORT = 8000, 8080
_READ_VERBS = ["get", "list", "watch"]
_LABELS = {"app": "traefik"}


def install_ingress(layout: Layout, cache: Path) -> str:
    """Install Traefik and wait until it serves; return its address inside the cluster."""
    installed = traefik.install_traefik(cache)
    program = (installed / "traefik").read_bytes()
    archive = layout.state / "traefik.tar"
    try:
        archive.write_bytes(
            images.make_archive(IMAGE, {"traefik": program}, entrypoint=["/traefik"])
        )
        images.import_archive(layout, archive)
    finally:
        archive.unlink(missing_ok=True)
    definitions = _list_definition_files(installed / traefik.DEFINITIONS)
    _run_kubectl(layout, "apply", "--server-side", "--force-conflicts", *definitions)
    _run_kubectl(
        layout,
        "wait",
        "--for=condition=Established",
        "crd/httproutes.gateway.networking.k8s.io",
        "--timeout=60s",
    )
    _apply_manifests(layout, *make_manifests())
    _run_kubectl(
        layout,
        "rollout",
        "status",
        "deployment/traefik",
        f"--namespace={NAMESPACE}",
        "--timeout=120s",
        timeout_s=150,
    )
    found = json.loads(
        _run_kubectl(
            layout, "get", "service", "traefik", f"--namespace={NAMESPACE}", "--output=json"
        )
    )
    return f"http://{found['spec']['clusterIP']}"


def make_manifests() -> tuple[dict[str, Any], ...]:
    """Make Traefik's objects, without the Gateway API definitions."""
    return (
        _make_object(
            "v1",
            "Namespace",
            NAMESPACE,
            labels={"pod-security.kubernetes.io/enforce": "restricted"},
        ),
        _make_object("v1", "ServiceAccount", "traefik", NAMESPACE),
        _make_object("rbac.authorization.k8s.io/v1", "ClusterRole", "traefik", rules=_make_rules()),
        _make_object(
            "rbac.authorization.k8s.io/v1",
            "ClusterRoleBinding",
            "traefik",
            roleRef={
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "traefik",
            },
            subjects=[{"kind": "ServiceAccount", "name": "traefik", "namespace": NAMESPACE}],
        ),
        _make_object("apps/v1", "Deployment", "traefik", NAMESPACE, spec=_make_deployment()),
        _make_object(
            "v1",
            "Service",
            "traefik",
            NAMESPACE,
            spec={
                "selector": _LABELS,
                "ports": [{"name": "web", "port": 80, "targetPort": WEB_PORT}],
            },
        ),
        _make_object(
            "networking.k8s.io/v1",
            "IngressClass",
            CLASS_NAME,
            spec={"controller": "traefik.io/ingress-controller"},
        ),
        _make_object(
            "gateway.networking.k8s.io/v1",
            "GatewayClass",
            CLASS_NAME,
            spec={"controllerName": "traefik.io/gateway-controller"},
        ),
        _make_object(
            "gateway.networking.k8s.io/v1", "Gateway", GATEWAY_NAME, NAMESPACE, spec=_make_gateway()
        ),
    )


def _make_rules() -> list[dict[str, Any]]:
    gateway, statuses = (
        "gateway.networking.k8s.io",
        ("gatewayclasses", "gateways", "httproutes", "grpcroutes", "tlsroutes"),
    )
    return [
        {
            "apiGroups": [""],
            "resources": ["services", "secrets", "configmaps", "namespaces", "nodes"],
            "verbs": _READ_VERBS,
        },
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": _READ_VERBS},
        {
            "apiGroups": ["networking.k8s.io"],
            "resources": ["ingresses", "ingressclasses"],
            "verbs": _READ_VERBS,
        },
        {
            "apiGroups": ["networking.k8s.io"],
            "resources": ["ingresses/status"],
            "verbs": ["update"],
        },
        {"apiGroups": [gateway], "resources": ["*"], "verbs": _READ_VERBS},
        {
            "apiGroups": [gateway],
            "resources": [f"{name}/status" for name in statuses],
            "verbs": ["update", "patch"],
        },
    ]


def _make_deployment() -> dict[str, Any]:
    arguments = (
        f"--entrypoints.web.address=:{WEB_PORT}",
        f"--entrypoints.traefik.address=:{STATUS_PORT}",
        "--ping=true",
        f"--providers.kubernetesingress.ingressclass={CLASS_NAME}",
        "--providers.kubernetesgateway=true",
        "--providers.providersthrottleduration=200ms",
        "--accesslog=true",
        "--accesslog.format=json",
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
    )
    container = {
        "name": "traefik",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "args": list(arguments),
        "ports": [
            {"name": "web", "containerPort": WEB_PORT},
            {"name": "status", "containerPort": STATUS_PORT},
        ],
        "readinessProbe": {"httpGet": {"path": "/ping", "port": "status"}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    pod = {
        "serviceAccountName": "traefik",
        "terminationGracePeriodSeconds": 2,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    return {
        "selector": {"matchLabels": _LABELS},
        "template": {"metadata": {"labels": _LABELS}, "spec": pod},
    }


def _make_gateway() -> dict[str, Any]:
    """Make a Gateway that accepts routes of every namespace; admission separates their hosts."""
    listener = {
        "name": "web",
        "port": WEB_PORT,
        "protocol": "HTTP",
        "allowedRoutes": {"namespaces": {"from": "All"}},
    }
    return {"gatewayClassName": CLASS_NAME, "listeners": [listener]}


def _make_object(
    api: str,
    kind: str,
    name: str,
    namespace: str = "",
    *,
    labels: dict[str, str] | None = None,
    **rest: Any,
) -> dict[str, Any]:
    metadata = (
        {"name": name}
        | ({"namespace": namespace} if namespace else {})
        | ({"labels": labels} if labels else {})
    )
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}


def _list_definition_files(folder: Path) -> list[str]:
    """List the CRD files, without the admission policy that protects them from older versions."""
    return [
        f"--filename={path}"
        for path in sorted(folder.glob("gateway.networking.k8s.io_*s.yaml"))
        if "vap" not in path.name
    ]


def _apply_manifests(layout: Layout, *manifests: dict[str, Any]) -> None:
    content = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
    _run_kubectl(
        layout, "apply", "--server-side", "--force-conflicts", "--filename=-", stdin=content
    )


def _run_kubectl(
    layout: Layout, *words: str, stdin: str | None = None, timeout_s: float = 90
) -> str:
    command = [str(layout.programs / "kubectl"), f"--kubeconfig={layout.kubeconfig}", *words]
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(layout.state)}
    try:
        done = subprocess.run(
            command,
            input=stdin,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ClusterError(f"`kubectl {words[0]}` did not run or did not end: {error}") from error
    if done.returncode:
        raise ClusterError(f"`kubectl {' '.join(words[:2])}` failed: {done.stderr.strip()[-2000:]}")
    return done.stdout
