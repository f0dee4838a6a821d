"""A deployment of the platform's chart in a namespace of its own, for a test that may do with it what it likes."""

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.charts import PLATFORM
from tests.support.kube import KUBECONFIG
from tests.support.programs import helm

_RELEASE = "trial"
#: Read now: settings are taken out of the environment when tests begin.
_TAG = os.environ.get("STOREFLEET_TEST_IMAGE_TAG", "")


class Release:
    """Stores are simulated, so that a test makes hundreds; the cluster's permissions are left to others."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def install(self, **values: Any) -> None:
        self._helm(
            "upgrade",
            "--install",
            _RELEASE,
            str(PLATFORM),
            *self._options(),
            sent=self._values(values),
        )

    def test(self) -> str:
        return self._helm("test", _RELEASE, "--timeout", "2m")

    def uninstall(self) -> None:
        self._helm("uninstall", _RELEASE, "--wait", "--timeout", "3m", "--ignore-not-found")

    def owner(self) -> dict[str, str]:
        """The first sign-in."""
        data = self.get("secret/storefleet-admin")["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def address(self, service: str) -> str:
        """Of a Service, as this machine reaches it."""
        spec = self.get(f"service/{service}")["spec"]
        return f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}"

    def get(self, what: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", what, "--output=json"))
        return found

    def names(self, kinds: str) -> list[str]:
        return self.kubectl("get", kinds, "--output=name").split()

    def apply(self, manifest: dict[str, Any]) -> None:
        _run(
            ["kubectl", "--namespace", self.namespace, "apply", "--filename=-"],
            sent=json.dumps(manifest),
        )

    def kubectl(self, *arguments: str) -> str:
        return _run(["kubectl", "--namespace", self.namespace, *arguments])

    def _helm(self, *arguments: str, sent: str | None = None) -> str:
        return _run([helm(), *arguments, "--namespace", self.namespace], sent=sent)

    def _options(self) -> tuple[str, ...]:
        return (
            f"--values={PLATFORM / 'values-local.yaml'}",
            "--values=-",
            "--wait",
            "--timeout",
            "4m",
        )

    def _values(self, values: dict[str, Any]) -> str:
        limits = {"STORES_PER_HOUR": 100_000, "STORES_PER_TENANT": 100_000}
        own = {
            "runtime": "simulated",
            "permissions": {"create": False},
            "image": {"tag": _TAG},
            "gateway": {"service": {"type": "ClusterIP", "nodePort": None}},
            "notifier": {"service": {"type": "ClusterIP", "nodePort": None}},
        }
        return json.dumps({**own, **values, "settings": {**limits, **values.get("settings", {})}})


def _environment() -> dict[str, str]:
    plain = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**plain, "KUBECONFIG": KUBECONFIG}


def _run(arguments: list[str], sent: str | None = None) -> str:
    done = subprocess.run(
        arguments,
        env=_environment(),
        input=sent,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, f"{arguments[:4]}: {done.stdout[-1000:]}{done.stderr[-2000:]}"
    return done.stdout


@contextmanager
def trial(namespace: str) -> Iterator[Release]:
    """A namespace with the strictest pod security, and nothing of it afterwards."""
    assert KUBECONFIG, (
        "These tests need a cluster: name its administrator's kubeconfig by STOREFLEET_TEST_KUBECONFIG."
    )
    _run(["kubectl", "create", "namespace", namespace])
    _run(
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
        _run(["kubectl", "delete", "namespace", namespace, "--timeout=180s"])
