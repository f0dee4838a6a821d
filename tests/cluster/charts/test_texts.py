"""Titles of every kind through the real Helm and all store charts; Helm's errors about charts."""

import base64
import json
from pathlib import Path

import pytest
import yaml

from storefleet.core.errors import PermanentError
from storefleet.core.yaml_encoding import encode_for_yaml
from storefleet.engines.descriptor import Engine
from storefleet.runtimes.kubernetes.releases.helm_process import map_helm_error
from tests.support.cluster.charts import Manifest, run_helm
from tests.support.cluster.pod_templates import rendered_store, store_charts
from tests.support.cluster.samples import pocket
from tests.support.texts.samples import HARD_TITLES


def find_title(objects: list[Manifest]) -> str:
    """Return the title as the store's program reads it, from its configuration or environment."""
    for each in objects:
        if each["kind"] == "ConfigMap" and "store.json" in each.get("data", {}):
            return str(json.loads(each["data"]["store.json"])["parameters"]["title"])
    (web,) = (each for each in objects if each["kind"] == "Deployment")
    variables = web["spec"]["template"]["spec"]["containers"][0]["env"]
    (value,) = (each["value"] for each in variables if each["name"] == "TITLE")
    return str(value).replace("$$", "$")  # as the kubelet does


@pytest.mark.parametrize("engine", [*store_charts(), pocket()], ids=lambda engine: engine.name)
@pytest.mark.parametrize("title", HARD_TITLES)
def test_title_reaches_configuration_of_store_unchanged(engine: Engine, title: str) -> None:
    objects = rendered_store(engine, exposure="none", title=title)
    assert find_title(objects) == title


def make_chart(folder: Path, **files: str) -> Path:
    (folder / "templates").mkdir(parents=True)
    content = {
        "Chart.yaml": "apiVersion: v2\nname: demo\nversion: 1.0.0\n",
        "values.yaml": "a: 1\n",
        "templates/map.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n",
        **{name.replace("__", "/").replace("_yaml", ".yaml"): text for name, text in files.items()},
    }
    for name, text in content.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"templates__map_yaml": "{{ if }}"}, "missing value for if"),
        ({"templates__map_yaml": "{{ nothing }}"}, "not defined"),
        ({"templates__map_yaml": "{{ .Values.x.y }}"}, "nil pointer"),
        ({"templates__map_yaml": "{{ .Values.a.b }}"}, "can't evaluate field b"),
        ({"templates__map_yaml": '{{ fail "no good" }}'}, "no good"),
        ({"templates__map_yaml": '{{ include "nowhere" . }}'}, "no template"),
        ({"templates__map_yaml": "a: [1"}, "YAML parse error"),
        ({"values.schema.json": '{"properties": {"a": {"type": "string"}}}'}, "want string"),
        ({"values.schema.json": '{"type": '}, "unexpected EOF"),
        ({"values_yaml": "a: [1"}, "values.yaml"),
        ({"Chart_yaml": "apiVersion: v2\nname: demo\nversion: a b\n"}, "is invalid"),
        ({"Chart_yaml": "apiVersion: v9\nname: demo\nversion: 1.0.0\n"}, "unsupported chart"),
        ({"Chart_yaml": "apiVersion: [v2\n"}, "Chart.yaml"),
    ],
)
def test_error_of_chart_is_permanent(tmp_path: Path, files: dict[str, str], reason: str) -> None:
    check_permanent(make_chart(tmp_path / "demo", **files), b"{}", reason)


def test_missing_chart_is_permanent(tmp_path: Path) -> None:
    check_permanent(tmp_path / "nowhere", b"{}", "not found")


@pytest.mark.parametrize(
    "values", [json.dumps({"a": "🛍"}).encode(), b'{"a": [', b'{"a": "\x01"}', b"[1]"]
)
def test_unreadable_values_are_permanent(tmp_path: Path, values: bytes) -> None:
    check_permanent(make_chart(tmp_path / "demo"), values, "failed to parse -")


def check_permanent(chart: Path, values: bytes, reason: str) -> None:
    done = run_helm("template", "store", str(chart), "--values=-", sent=values.decode())
    assert done.returncode != 0
    error = map_helm_error(done.returncode, done.stderr)
    assert isinstance(error, PermanentError), error
    assert error.code == "chart_invalid"
    assert reason in str(error)


def test_values_are_read_unchanged_by_helm(tmp_path: Path) -> None:
    chart = make_chart(
        tmp_path / "demo",
        templates__map_yaml="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"
        "data: {texts: {{ toJson .Values.texts | b64enc }}}\n",
    )
    texts = [
        *HARD_TITLES,
        "\x7f\x85\u2028\u2029\ufeff\ufffe\uffff",
        " \u2028 a \u0085 ",
        "\n\t\x01",
    ]
    sent = encode_for_yaml({"texts": texts}).decode()
    done = run_helm("template", "store", str(chart), "--values=-", sent=sent)
    assert done.returncode == 0, done.stderr
    encoded = yaml.safe_load(done.stdout)["data"]["texts"]
    assert json.loads(base64.b64decode(encoded)) == texts
