"""A deployment of the platform's chart in a namespace of its own, for tests that change it."""

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.cluster.api_access import KUBECONFIG
from tests.support.cluster.charts import PLATFORM
from tests.support.setup.programs import helm

_RELEASE = "trial"
#: Read at import, because the tests remove settings from the environment.
_TAG = os.environ.get("STOREFLEET_TEST_IMAGE_TAG", "")


class Release:
    """A release with simulated stores, so that a test can create hundreds; without permissions."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def install(self, **values: Any) -> None:
        self.run_helm(
            "upgrade",
            "--install",
            _RELEASE,
            str(PLATFORM),
            *self._make_options(),
            sent=self._make_values(values),
        )

    def run_tests(self) -> str:
        return self.run_helm("test", _RELEASE, "--timeout", "2m")

    def uninstall(self) -> None:
        self.run_helm("uninstall", _RELEASE, "--wait", "--timeout", "3m", "--ignore-not-found")

    def read_owner(self) -> dict[str, str]:
        """Return URL, e-mail, password and token of the first owner."""
        data = self.get_object("secret/storefleet-admin")["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def get_address(self, service: str) -> str:
        """Return the URL of a Service as seen from this machine."""
        spec = self.get_object(f"service/{service}")["spec"]
        return f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}"

    def get_object(self, what: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run_kubectl("get", what, "--output=json"))
        return found

    def list_names(self, kinds: str) -> list[str]:
        return self.run_kubectl("get", kinds, "--output=name").split()

    def apply(self, manifest: dict[str, Any]) -> None:
        _run_program(
            ["kubectl", "--namespace", self.namespace, "apply", "--filename=-"],
            sent=json.dumps(manifest),
        )

    def run_kubectl(self, *arguments: str) -> str:
        return _run_program(["kubectl", "--namespace", self.namespace, *arguments])

    def run_helm(self, *arguments: str, sent: str | None = None) -> str:
        return _run_program([helm(), *arguments, "--namespace", self.namespace], sent=sent)

    def _make_options(self) -> tuple[str, ...]:
        return (
            f"--values={PLATFORM / 'values-local.yaml'}",
            "--values=-",
            "--wait",
            "--timeout",
            "4m",
        )

    def _make_values(self, values: dict[str, Any]) -> str:
        limits = {"STORES_PER_HOUR": 100_000, "STORES_PER_TENANT": 100_000}
        own = {
            "runtime": "simulated",
            "permissions": {"create": False},
            "image": {"tag": _TAG},
            "gateway": {"service": {"type": "ClusterIP", "nodePort": None}},
            "notifier": {"service": {"type": "ClusterIP", "nodePort": None}},
        }
        return json.dumps({**own, **values, "settings": {**limits, **values.get("settings", {})}})


def _make_environment() -> dict[str, str]:
    plain = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**plain, "KUBECONFIG": KUBECONFIG}


def _run_program(arguments: list[str], sent: str | None = None) -> str:
    done = subprocess.run(
        arguments,
        env=_make_environment(),
        input=sent,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, f"{arguments[:4]}: {done.stdout[-1000:]}{done.stderr[-2000:]}"
    return done.stdout


@contextmanager
def open_trial(namespace: str) -> Iterator[Release]:
    """Create a namespace with Pod Security `restricted`, and delete it afterwards."""
    assert KUBECONFIG, (
        "These tests need a cluster. Set STOREFLEET_TEST_KUBECONFIG to its kubeconfig."
    )
    _run_program(["kubectl", "create", "namespace", namespace])
    _run_program(
        [
            "kubectl",
            "label",
            "namespace",
            namespace,
            "pod-security.kubernetes.io/enforce=restricted",
        ]
    )
    try:
        yield Release(namespace)
    finally:
        _run_program(["kubectl", "delete", "namespace", namespace, "--timeout=180s"])
