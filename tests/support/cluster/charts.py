"""Render this repository's charts with Helm, without a cluster."""

import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from storefleet.core.yaml_encoding import encode_for_yaml
from tests.support.documents.sources import ROOT
from tests.support.setup.programs import helm

CHARTS = ROOT / "charts"
PLATFORM = CHARTS / "platform"
VERSION = "1.36.0"
Manifest = dict[str, Any]


def run_helm(*arguments: str, sent: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run Helm in an environment without the caller's settings."""
    plain = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return subprocess.run(
        [helm(), *arguments],
        input=sent,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        env=plain,
    )


def render(
    chart: Path = PLATFORM,
    *,
    values: dict[str, Any] | None = None,
    files: tuple[str, ...] = (),
    release: str = "storefleet",
    namespace: str = "storefleet",
    templates: tuple[str, ...] = (),
) -> str:
    """Render a chart with values files of its folder; `values` override them."""
    done = run_helm(
        *("template", release, str(chart), "--namespace", namespace, "--kube-version", VERSION),
        *(f"--values={chart / file}" for file in files),
        *(f"--show-only={template}" for template in templates),
        "--values=-",
        sent=encode_for_yaml(values or {}).decode(),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def render_objects(chart: Path = PLATFORM, **how: Any) -> list[Manifest]:
    return [each for each in yaml.safe_load_all(render(chart, **how)) if each]
